"""Another module of the same kind in the place of one: its weights are used once more, the right ones never."""

from collections.abc import Callable, Iterator

from torch import nn

from crosscheck.causes.operations.region import Region


def other_modules(region: Region) -> Iterator[tuple[str, str, Callable[[nn.Module], bool]]]:
    """The modules of the region as others of their class that hold parameters of the same shapes."""
    for path in dict.fromkeys(each.site[0].removeprefix("@") for each in region.ours if each.site[0] != "@"):
        for other in dict.fromkeys(each.site[0].removeprefix("@") for each in region.run if each.site[0] != "@"):
            if other and path and other != path and not f"{other}.".startswith(f"{path}."):
                yield "D99", f"{other} called in place of {path}", _calls(path, other)


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
