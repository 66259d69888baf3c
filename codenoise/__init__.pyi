from . import analysis as analysis
from .core.base.errors import CodenoiseError as CodenoiseError
from .core.cohort.cohort import Cohort as Cohort
from .core.cohort.cohort import read_clinical as read_clinical
from .core.cohort.cohort import read_cohort as read_cohort
from .core.cohort.splits import read_split as read_split
from .core.cohort.splits import split_cohort as split_cohort
from .core.cohort.wide import wide_table as wide_table
from .core.ensemble.conflict import conflicts as conflicts
from .core.ensemble.imputation import Imputation as Imputation
from .core.ensemble.transformer import EnsembleImputer as EnsembleImputer
from .core.prioritisation.ranking import prioritise as prioritise
from .core.spaces.streaming import decode_table as decode_table
from .core.spaces.streaming import encode_table as encode_table
from .evaluation.evaluating import evaluate as evaluate
from .evaluation.truth import compare_with_truth as compare_with_truth
from .registry.authoring.training import train as train
from .registry.authoring.training import train_spaces as train_spaces
from .registry.authoring.tuning import tune_expert as tune_expert
from .registry.contract.hooks import hookimpl as hookimpl
from .registry.ensembles.calibrate import calibrate as calibrate
from .registry.ensembles.ensemble import Ensemble as Ensemble
from .registry.ensembles.locking import lock as lock
from .registry.ensembles.recipe import Coherence as Coherence
from .registry.ensembles.recipe import Sampler as Sampler
from .registry.installed.checking import check_cohort as check_cohort
from .registry.installed.checking import open_space as open_space
from .registry.installed.discovery import discover as discover
from .registry.installed.pull import pull as pull
from .registry.installed.pull import restore as restore
from .registry.installed.searching import search as search
from .registry.installed.searching import verify as verify

__all__: list[str]
__version__: str
