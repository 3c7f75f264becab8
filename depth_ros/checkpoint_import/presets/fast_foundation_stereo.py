"""Fast-FoundationStereo (Wen et al. 2025), exported as one graph."""

from dataclasses import replace

from depth_ros.checkpoint_import.presets import foundation_stereo

PRESET = replace(
    foundation_stereo.PRESET,
    description="Fast-FoundationStereo",
    source="https://github.com/NVlabs/Fast-FoundationStereo",
)
