"""Operations and bytes counted, energy modelled from published tables, energy measured.

Three columns that are never mixed: what is counted is exact, what is modelled names its table and
what that leaves out, and what is measured comes from counters or is not there.
"""

from .counted import ActivationCount as ActivationCount
from .counted import Counted as Counted
from .counted import LayerCount as LayerCount
from .counting import count as count
from .grouping import Group as Group
from .grouping import group_activations as group_activations
from .grouping import group_layers as group_layers
from .ledger import Ledger as Ledger
from .ledger import ledger as ledger
from .measured import CounterResult as CounterResult
from .measured import Measured as Measured
from .measured import measure as measure
from .meters import Meter as Meter
from .meters import NoMeter as NoMeter
from .meters import Reading as Reading
from .meters import find_meter as find_meter
from .modelled import LayerEnergy as LayerEnergy
from .modelled import Modelled as Modelled
from .modelled import Parts as Parts
from .modelled import model_energy as model_energy
from .tables import TABLES as TABLES
from .tables import EnergyTable as EnergyTable
from .tables import energy_table as energy_table
from .traffic import Traffic as Traffic
from .traffic import WeightFormat as WeightFormat
from .traffic import dense_traffic as dense_traffic
from .traffic import sparse_traffic as sparse_traffic
from .traffic import weight_format as weight_format
from .training import Step as Step
from .training import TrainingColumn as TrainingColumn
from .training import training_column as training_column
