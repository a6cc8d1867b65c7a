"""The one way to see activations go by: by module name, call and layout."""

from sparsefield.watch.call import Call as Call
from sparsefield.watch.call import Place as Place
from sparsefield.watch.kinds import activation_modules as activation_modules
from sparsefield.watch.kinds import is_activation as is_activation
from sparsefield.watch.kinds import modules_of as modules_of
from sparsefield.watch.watching import Watch as Watch
from sparsefield.watch.watching import watching as watching
