"""UniDepth V2 (Piccinelli et al. 2025), exported with the camera's rays as an input, or without."""

from depth_ros.checkpoint_import.preset import Preset

PRESET = Preset(
    task="depth",
    description="UniDepth V2",
    source="https://github.com/lpiccinelli-eth/UniDepth (unidepth/models/unidepthv2/export.py --with-camera)",
    licence="CC-BY-NC-4.0",
    inputs={"rgbs": "image", "rays": "rays"},
    outputs={"pts_3d": "points", "confidence": "", "intrinsics": ""},
    size=(630, 462),
    settings={"multiple": 14},
)
