"""Another module of the same kind in the place of one, or a module called with what another one is given."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from crosscheck.causes.operations.region import Region


def other_modules(region: Region) -> Iterator[tuple[str, str, Callable[[nn.Module], bool]]]:
    """The modules of the region as others of their class that hold parameters of the same shapes."""
    for path in dict.fromkeys(each.site[0].removeprefix("@") for each in region.ours if each.site[0] != "@"):
        for other in dict.fromkeys(each.site[0].removeprefix("@") for each in region.run if each.site[0] != "@"):
            if other and path and other != path and not f"{other}.".startswith(f"{path}."):
                yield "D99", f"{other} called in place of {path}", _calls(path, other)


def other_inputs(region: Region) -> Iterator[tuple[str, str, Callable[[nn.Module], bool]]]:
    """What enters a module at the region's tap as what enters or leaves another module before it."""
    path, _, place = region.tap.rpartition(" in[")
    if not path or "#" in path:
        return
    for other in dict.fromkeys(each.site[0].removeprefix("@") for each in region.run if each.site[0] != "@"):
        if other and other != path:
            for is_output, end in ((False, "enters"), (True, "leaves")):
                yield "D99", f"{path} called with what {end} {other}", _given(path, int(place[:-1]), other, is_output)


def _given(path: str, place: int, other: str, is_output: bool) -> Callable[[nn.Module], bool]:
    seen: list[Any] = []

    def keep(module: nn.Module, args: Any, found: Any) -> None:
        seen[:] = [found if is_output else args[0]]

    def enter(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*args[:place], seen[0], *args[place + 1 :])

    def change(root: nn.Module) -> bool:
        modules = dict(root.named_modules())
        if path in modules and other in modules:
            modules[other].register_forward_hook(keep)
            modules[path].register_forward_pre_hook(enter)
        return path in modules and other in modules

    return change


def _calls(path: str, other: str) -> Callable[[nn.Module], bool]:
    def change(root: nn.Module) -> bool:
        modules = dict(root.named_modules())
        ours, theirs = modules.get(path), modules.get(other)
        if ours is None or theirs is None or type(ours) is not type(theirs) or _shapes(ours) != _shapes(theirs):
            return False
        ours.forward = theirs.forward
        return True

    return change


def _shapes(module: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(each.shape)) for name, each in module.named_parameters()]
