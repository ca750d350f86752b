"""Which optimizers train a model, and the gradients of what each of them trains."""

import weakref

from msgspec import Struct
from torch.optim.optimizer import Optimizer

from barograph.collect.gradients import LayerGradients
from barograph.collect.layer_columns import Columns, only


class OptimizerPart(Struct, frozen=True):
    """What one optimizer trains of the model."""

    count: int
    """Parameters that it has, of whichever model."""
    parameters: frozenset[int]
    """Ids of those of this model."""
    gradients: LayerGradients


class OptimizerParts:
    """Owns the parts of a model by their optimizers, which it keeps alive no longer than others do."""

    def __init__(self, found: Columns) -> None:
        self._found = found
        self._parts: weakref.WeakKeyDictionary[Optimizer, OptimizerPart] = weakref.WeakKeyDictionary()
        self._strangers: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()
        self.parameters = frozenset(id(one) for one in found.parameters)
        """Ids of the model's parameters."""

    def has(self, optimizer: Optimizer) -> bool:
        """Whether it trains any parameter of the model; it may train others beside."""
        if optimizer in self._parts:
            return True
        count = _count(optimizer)
        if self._strangers.get(optimizer) == count:
            return False
        if self.parameters.isdisjoint(ids(optimizer)):
            self._strangers[optimizer] = count
            return False
        return True

    def of(self, optimizer: Optimizer) -> OptimizerPart:
        """What it trains; made anew where parameters were added to it."""
        part, count = self._parts.get(optimizer), _count(optimizer)
        if part is None or part.count != count:
            own = only(self._found, ids(optimizer))
            part = OptimizerPart(count, frozenset(id(one) for one in own.parameters), LayerGradients(own))
            self._parts[optimizer] = part
        return part

    def known(self, optimizer: Optimizer) -> OptimizerPart | None:
        """The same, if it was asked for before."""
        return self._parts.get(optimizer)


def ids(optimizer: Optimizer) -> frozenset[int]:
    """Ids of the parameters that it has now."""
    return frozenset(id(one) for group in optimizer.param_groups for one in group["params"])


def _count(optimizer: Optimizer) -> int:
    return sum(len(group["params"]) for group in optimizer.param_groups)
