"""A network's graph (torch.fx), cut where its frozen part ends."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from anmok.models.modes import settle_frozen

# What following a network, or running a part of it, can fail with.
CANNOT = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, AssertionError, NameError)
RANDOM = ("dropout", "bernoulli", "rand", "normal_", "uniform_")  # how names of what draws at random begin

Values = dict[str, tuple[Any, Any]]


class Cannot(Exception):
    """A network cannot be split; says why. It is caught where the plain way is taken then."""


def cut(
    backbone: nn.Module, heads: tuple[str, ...], images: torch.Tensor
) -> tuple[fx.GraphModule, fx.GraphModule, fx.GraphModule]:
    """(front, back, back in evaluation mode): of images to a tuple of tensors, and of these tensors to the logits.

    The front is all that depends on the images and on nothing that learns or draws at random. images: float[B, C, H,
    W], run through to see which values are tensors.  Raises Cannot, or what following the network failed with.
    """
    backbone.train()
    settle_frozen(backbone)
    loud = follow(backbone, heads)
    border, constants = _border(loud, _frozen(backbone, loud), _values(backbone, loud, images))
    backbone.eval()
    quiet = follow(backbone, heads)
    if not set(border) <= {n.name for n in quiet.nodes}:
        raise Cannot("its frozen part is another one in training than in evaluation")
    return (
        _front(backbone, quiet, border), _back(backbone, loud, border, constants),
        _back(backbone, quiet, border, constants),
    )  # fmt: skip


def follow(backbone: nn.Module, heads: tuple[str, ...]) -> fx.Graph:
    """The graph of the network in its present mode.

    Parts that learn as a whole, or not at all, are not looked into, but for what the head lies in: it may pool first.
    """
    from timm.layers import get_notrace_functions, get_notrace_modules

    leaves = tuple(get_notrace_modules())

    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            mixed = len({p.requires_grad for p in m.parameters()}) == 2
            around = any(h.startswith(f"{module_qualified_name}.") for h in heads)
            whole = not (mixed or around) or isinstance(m, leaves)
            return whole or super().is_leaf_module(m, module_qualified_name)

    functions = tuple(f for f in get_notrace_functions() if callable(f))
    return Tracer(autowrap_functions=functions).trace(backbone)


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps every value."""

    def __init__(self, module: fx.GraphModule):
        super().__init__(module)
        self.found: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.found[n.name] = super().run_node(n)
        return self.found[n.name]


@torch.no_grad()
def _values(backbone: nn.Module, graph: fx.Graph, images: torch.Tensor) -> Values:
    """Of each node its values for all images, and for all but one."""
    runs = []
    for given in (images, images[1:]):
        recorder = _Recorder(fx.GraphModule(backbone, graph))
        recorder.run(given)
        runs.append(recorder.found)
    return {name: (value, runs[1][name]) for name, value in runs[0].items()}


def _frozen(backbone: nn.Module, graph: fx.Graph) -> set[fx.Node]:
    """Nodes that depend on the images and on nothing that learns or draws at random."""
    modules, own = dict(backbone.named_modules()), dict(backbone.named_parameters())
    frozen: set[fx.Node] = set()
    live: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder":
            frozen.add(node)
        elif node.op == "get_attr":
            parameter = own.get(str(node.target))
            if parameter is not None and parameter.requires_grad:
                live.add(node)
        elif live & set(node.all_input_nodes) or _lives(node, modules):
            live.add(node)
        elif frozen & set(node.all_input_nodes):
            frozen.add(node)
    return frozen


def _lives(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether a node itself learns, draws at random, or uses the statistics of a batch."""
    if node.op == "output":
        return True
    if node.op == "call_module":
        module = modules[str(node.target)]
        return any(p.requires_grad for p in module.parameters()) or any(map(_active, module.modules()))
    name = str(getattr(node.target, "__name__", node.target))
    if name.startswith("dropout"):
        chance = node.kwargs.get("p", node.args[1] if len(node.args) > 1 else 0.5)
        return bool(chance) and node.kwargs.get("training", True) is not False
    return name.startswith(RANDOM) or (name == "batch_norm" and node.kwargs.get("training", False) is not False)


def _active(module: nn.Module) -> bool:
    """Whether a module in training mode says something else than in evaluation mode."""
    if not module.training:
        return False
    if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.instancenorm._InstanceNorm):
        return True
    return bool(getattr(module, "p", 0) if "Drop" in type(module).__name__ else getattr(module, "drop_prob", 0))


def _border(graph: fx.Graph, frozen: set[fx.Node], values: Values) -> tuple[list[str], dict[str, Any]]:
    """Names of the frozen tensors that the rest needs, and by name the plain values it needs: sizes and the like.

    A plain value that is the same for any number of images is a constant; one that is not is computed again from the
    tensor that it comes from.
    """
    border: dict[str, None] = {}
    constants: dict[str, Any] = {}
    waiting = [n for user in graph.nodes if user not in frozen for n in user.all_input_nodes if n in frozen]
    while waiting:
        node = waiting.pop(0)
        whole, part = values[node.name]
        if isinstance(whole, torch.Tensor):
            border[node.name] = None
            if node.op == "placeholder":
                raise Cannot("what learns sees the images themselves")
        elif _plain(whole) and whole == part:
            constants[node.name] = whole
        else:
            frozen.discard(node)
            waiting += [n for n in node.all_input_nodes if n in frozen]
    if not border:
        raise Cannot("what learns depends on no tensor that its frozen part gives")
    return list(border), constants


def _plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_plain, value))
    return value is None or isinstance(value, int | float | str)


def _front(backbone: nn.Module, graph: fx.Graph, border: list[str]) -> fx.GraphModule:
    """Images to the tensors at the border."""
    made = fx.Graph()
    copies: dict[str, fx.Node] = {}
    for node in graph.nodes:
        if node.op != "output":
            copies[node.name] = made.node_copy(node, lambda n: copies[n.name])
    made.output(tuple(copies[name] for name in border))
    return _needed(backbone, made)


def _back(backbone: nn.Module, graph: fx.Graph, border: list[str], constants: dict[str, Any]) -> fx.GraphModule:
    """The tensors at the border to the logits."""
    made = fx.Graph()
    copies: dict[str, Any] = {name: made.placeholder(name) for name in border} | constants
    for node in graph.nodes:
        if node.name not in copies and node.op != "placeholder" and all(n.name in copies for n in node.all_input_nodes):
            args, kwargs = (fx.node.map_arg(given, lambda n: copies[n.name]) for given in (node.args, node.kwargs))
            copies[node.name] = made.create_node(node.op, node.target, args, kwargs, node.name)
    if not any(n.op == "output" for n in made.nodes):
        raise Cannot("what learns needs more of its frozen part than can be kept")
    return _needed(backbone, made)


def _needed(backbone: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """The graph as a module, without what its output does not need."""
    module = fx.GraphModule(backbone, graph)
    module.graph.eliminate_dead_code()
    return fx.GraphModule(backbone, module.graph)
