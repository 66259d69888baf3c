from . import analysis as analysis
from .core.base.errors import CodenoiseError as CodenoiseError
from .core.cohort.cohort import Cohort as Cohort
from .core.cohort.cohort import read_clinical as read_clinical
from .core.cohort.cohort import read_cohort as read_cohort
from .core.ensemble.learning import calibrate as calibrate
from .core.ensemble.transformer import EnsembleImputer as EnsembleImputer
from .registry.contract.hooks import hookimpl as hookimpl
from .registry.ensembles.ensemble import Ensemble as Ensemble
from .registry.ensembles.recipe import Coherence as Coherence
from .registry.ensembles.recipe import Sampler as Sampler
from .registry.installed.discovery import discover as discover

__all__: list[str]
__version__: str
