"""torch modules: sparse activations, edge-of-chaos initialisation, the papers' networks."""

from sparsefield.theory import Point as Point

from .activations import CST as CST
from .activations import Activation as Activation
from .activations import CReLU as CReLU
from .activations import ShiftedReLU as ShiftedReLU
from .activations import SoftThreshold as SoftThreshold
from .activations import crelu as crelu
from .activations import cst as cst
from .activations import shifted_relu as shifted_relu
from .activations import soft_threshold as soft_threshold
from .drop_dead import Dropped as Dropped
from .drop_dead import drop_dead_ as drop_dead_
from .fatrelu import FATReLU as FATReLU
from .fatrelu import fatrelu as fatrelu
from .hold import HeldTable as HeldTable
from .hold import Hold as Hold
from .initialise import InitTable as InitTable
from .initialise import init_ as init_
from .initialise import torch_default_ as torch_default_
from .mode import evaluating as evaluating
from .networks import CNN as CNN
from .networks import DNN as DNN
from .of_point import activation as activation
from .skip import Skip as Skip
from .sparsify import sparsify_ as sparsify_
from .table import SparsifyRow as SparsifyRow
from .table import SparsifyTable as SparsifyTable
from .threshold import ThresholdTable as ThresholdTable
from .threshold import threshold_ as threshold_
from .topk import TopK as TopK
from .topk import topk as topk
