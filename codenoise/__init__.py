"""Complete sparse biomedical cohorts with ensembles of expert models.

What users need stands here by name and is imported when it is first used, so that
``import codenoise`` loads neither torch nor pandas.
"""

from importlib.metadata import version

import lazy_loader

__version__ = version("codenoise")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
