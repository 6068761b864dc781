"""ComfyUI nodes: any solver as SAMPLER, its grids as SIGMAS. This folder is copied or linked to custom_nodes.

ComfyUI runs this file by its path, so that it imports the installed package by name; README.md says more.
"""

from __future__ import annotations

from genie_samplers.integrations.comfyui.apis import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS, comfy_entrypoint

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "comfy_entrypoint"]
