"""`report_to="barograph"`: our callback in the dict where transformers looks its reporting integrations up.

transformers has no entry point for it, and either package may be imported first. If its module is loaded, the entry is
made at once; otherwise a finder on `sys.meta_path` waits for that one module, lets it be loaded as always, and makes
the entry then. So importing barograph never imports transformers or torch, and where transformers is never imported
the finder is one comparison per import.
"""

import importlib.abc
import logging
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

MODULE = "transformers.integrations.integration_utils"
TABLE = "INTEGRATION_TO_CALLBACK"
NAME = "barograph"

logger = logging.getLogger("barograph")


def install() -> None:
    """Make `report_to="barograph"` known to transformers, now or when it is imported. A second call does nothing."""
    module = sys.modules.get(MODULE)
    if module is not None and hasattr(module, TABLE):
        register(module)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def register(module: ModuleType) -> None:
    """Enter our callback into the table of `module`; whatever goes wrong, the import of transformers goes on."""
    try:
        from barograph.collect.hugging_face import TrainerCallback

        getattr(module, TABLE)[NAME] = TrainerCallback
    except Exception as error:  # noqa: BLE001 - the boundary to an import of someone else's package
        logger.warning(
            'barograph: report_to="barograph" is not available with this version of transformers: %r. '
            "Pass callbacks=[barograph.TrainerCallback()] instead.",
            error,
        )


class _Finder(importlib.abc.MetaPathFinder):
    """Waits for one module; leaves all others to the finders after it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != MODULE:
            return None
        for finder in sys.meta_path:
            if isinstance(finder, _Finder) or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader(importlib.abc.Loader):
    """The loader that was found, with one more thing to do at the end; after that the module forgets it."""

    def __init__(self, found: importlib.abc.Loader) -> None:
        self._found = found

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._found.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._found
        module.__loader__ = self._found
        self._found.exec_module(module)
        register(module)
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
