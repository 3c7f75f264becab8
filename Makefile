# make demo [DATA=folder] [MODEL=stereo]   a clip through the real node over DDS, and a page of figures
# make test [ARGS=...]      every test, or what ARGS gives to pytest
# make lint                 style, spelling, types, import contracts
# make setup                all of them begin with it; quick when nothing has changed
# With JAZZY=1 each works on the Jazzy wheels, in .venv-jazzy. Where a ROS distribution is sourced, on that one.
PYTHON ?= python3
VENV := .venv$(if $(JAZZY),-jazzy)
BIN := $(VENV)/bin

SOURCED := $(if $(ROS_DISTRO),$(shell $(PYTHON) -c "import rclpy; print('distribution')" 2>/dev/null))
ROS := $(if $(JAZZY),jazzy,$(or $(SOURCED),kilted))
READY := $(VENV)/.ready-$(ROS)

.PHONY: setup demo test lint clean

setup: $(READY)
	@:

$(READY): $(addprefix requirements/,python.txt constraints.txt ros-$(ROS).txt ros-wheels.txt)
$(READY): .ci/environment.py $(wildcard .ci/tf2_msgs/* .ci/tf2_msgs/msg/*) setup.py package.xml
	@$(PYTHON) .ci/environment.py $(VENV) $(ROS)

demo: setup
	@$(BIN)/depth_ros demo $(if $(DATA),--data $(DATA)) $(if $(MODEL),--model $(MODEL))

# Training has a process of its own: behind every compiler and DDS in one process, Python 3.11 crashed there.
# A domain of its own, so that no robot or second run is heard; the transport that carries large images.
test: export ROS_DOMAIN_ID := $(shell echo $$(($$$$ % 100 + 1)))
test: export ROS_LOG_DIR := $(CURDIR)/build/ros_log
test: export FASTDDS_BUILTIN_TRANSPORTS := LARGE_DATA
test: setup
	@$(BIN)/python -m pytest $(or $(ARGS),--ignore=test/training)
	@$(if $(ARGS),,$(BIN)/python -m pytest test/training)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv .venv-jazzy build install log *.egg-info
