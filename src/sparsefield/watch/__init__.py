"""The one way to see activations go by: by module name, call and layout."""

from sparsefield.watch.call import Call as Call
from sparsefield.watch.call import Place as Place
from sparsefield.watch.calling import begins as begins
from sparsefield.watch.kinds import activation_modules as activation_modules
from sparsefield.watch.kinds import is_activation as is_activation
from sparsefield.watch.kinds import modules_of as modules_of
from sparsefield.watch.passes import Passes as Passes
from sparsefield.watch.watch import Watch as Watch
