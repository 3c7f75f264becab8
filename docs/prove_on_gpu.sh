#!/usr/bin/env bash
# Proves that depth_ros runs its models through TensorRT on this machine, a desktop with an NVIDIA GPU or a Jetson.
# With depth_ros and torch-tensorrt installed (see installation.md): bash docs/prove_on_gpu.sh
# The last line is PROVED, or NOT PROVED after the commands that failed. proof.json holds the machine, the versions, the
# output of every command and all measurements: please attach it to an issue, whichever way it ends. 20 to 60 minutes.
# Options: --backend tensorrt_rtx | inductor, --models NAME..., --out FILE.
exec "${PYTHON:-python3}" -m depth_ros.cli.proof "$@"
