"""The nodes in ComfyUI's two interfaces: ``comfy_entrypoint``, and NODE_CLASS_MAPPINGS of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .nodes import NODES, Input, Node

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "comfy_entrypoint"]

_CATEGORY = "sampling/genie"
_OLD = {"model": "MODEL", "text": "STRING", "integer": "INT", "number": "FLOAT"}
_NEW = {"model": "Model", "choice": "Combo", "text": "String", "integer": "Int", "number": "Float"}


def _settings(given: Input) -> dict[str, Any]:
    """What both interfaces say of an input in the same words."""
    bounds = {} if given.bounds is None else dict(zip(("min", "max", "step"), given.bounds, strict=True))
    default = {} if given.default is None else {"default": given.default}
    return {**default, **bounds, **({"tooltip": given.tooltip} if given.tooltip else {})}


def _old(node: Node) -> type:
    kinds = {each.name: list(each.choices) if each.kind == "choice" else _OLD[each.kind] for each in node.inputs}
    required = {each.name: (kinds[each.name], _settings(each)) for each in node.inputs}

    def execute(self: object, **inputs: Any) -> tuple[Any, ...]:
        return node.run(**inputs)

    members = {
        "INPUT_TYPES": classmethod(lambda cls: {"required": required}),
        "RETURN_TYPES": tuple(output.upper() for output in node.outputs),
        "RETURN_NAMES": node.outputs,
        "FUNCTION": "execute",
        "CATEGORY": _CATEGORY,
        "execute": execute,
    }
    return type(node.key, (), {**members, "__doc__": node.run.__doc__})


NODE_CLASS_MAPPINGS: Mapping[str, type] = {node.key: _old(node) for node in NODES}
NODE_DISPLAY_NAME_MAPPINGS: Mapping[str, str] = {node.key: node.title for node in NODES}


def _new(node: Node, io: Any) -> type:
    def new_input(each: Input) -> Any:
        options = {"options": list(each.choices)} if each.kind == "choice" else {}
        return getattr(io, _NEW[each.kind]).Input(each.name, **options, **_settings(each))

    def define_schema(cls: type) -> Any:
        outputs = [getattr(io, output.capitalize()).Output() for output in node.outputs]
        return io.Schema(
            node_id=node.key, display_name=node.title, category=_CATEGORY,
            inputs=[new_input(each) for each in node.inputs], outputs=outputs,
        )  # fmt: skip

    def execute(cls: type, **inputs: Any) -> Any:
        return io.NodeOutput(*node.run(**inputs))

    return type(
        node.key, (io.ComfyNode,), {"define_schema": classmethod(define_schema), "execute": classmethod(execute)}
    )


async def comfy_entrypoint() -> Any:
    """The extension of ComfyUI's newer interface."""
    from comfy_api.latest import ComfyExtension, io  # pyright: ignore[reportMissingImports]

    class GenieExtension(ComfyExtension):
        async def get_node_list(self) -> list[type]:
            return [_new(node, io) for node in NODES]

    return GenieExtension()
