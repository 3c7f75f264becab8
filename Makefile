# make demo [DATA=folder] [MODEL=stereo]   play a clip through the node over DDS and write a report
# make test [ARGS=...]      run all tests, or pytest with the arguments ARGS
# make docs                 build the documentation in build/docs; warnings are errors
# make scenes BOOKSTORE=folder [BLENDER=program] [ARGS="--models mono"]   make the pictures of docs/scenes.md
# make check-tensorrt       convert all models to TensorRT without a GPU (12 GB, an hour); MODELS="mono_driving fcrn"
# make check-systems        check the eight published systems against the authors' code; REFERENCE=folder with its checkouts
# make lint                 check style, spelling, types and import contracts
# make setup                create the environment; run by all other targets, quick if nothing has changed
# JAZZY=1 uses the Jazzy wheels, in .venv-jazzy. If a ROS distribution is sourced, that one is used.
PYTHON ?= python3
VENV := .venv$(if $(JAZZY),-jazzy)
BIN := $(VENV)/bin

SOURCED := $(if $(ROS_DISTRO),$(shell $(PYTHON) -c "import rclpy; print('distribution')" 2>/dev/null))
ROS := $(if $(JAZZY),jazzy,$(or $(SOURCED),kilted))
READY := $(VENV)/.ready-$(ROS)

.PHONY: setup demo docs scenes test test-nodes test-engines test-others check-tensorrt check-systems lint clean

setup: $(READY)
	@:

$(READY): $(addprefix requirements/,python.txt constraints.txt ros-$(ROS).txt ros-wheels.txt)
$(READY): .ci/environment.py $(wildcard .ci/tf2_msgs/* .ci/tf2_msgs/msg/*) setup.py package.xml
	@$(PYTHON) .ci/environment.py $(VENV) $(ROS)

demo: setup
	@$(BIN)/depth_ros demo $(if $(DATA),--data $(DATA)) $(if $(MODEL),--model $(MODEL))

docs: setup
	@$(BIN)/python -m sphinx -q -W --keep-going -b html -d build/doctrees docs build/docs
	@echo build/docs/index.html

scenes: setup
	@$(BIN)/python docs/make_scenes.py $(BOOKSTORE) $(if $(BLENDER),--blender $(BLENDER)) $(ARGS)

# Three parts side by side, in separate processes: most tests with nodes and engines wait, the others compute. Training has
# a process of its own: after all compilers in one process, Python 3.11 crashed in it. A random domain isolates the tests
# from robots and other runs.
test: export ROS_DOMAIN_ID := $(shell echo $$(($$$$ % 100 + 1)))
test: export ROS_LOG_DIR := $(CURDIR)/build/ros_log
test: export FASTDDS_DEFAULT_PROFILES_FILE := $(CURDIR)/config/fastdds_large_images.xml
test: export FASTRTPS_DEFAULT_PROFILES_FILE := $(CURDIR)/config/fastdds_large_images.xml
test: setup
	@$(if $(ARGS),$(BIN)/python -m pytest $(ARGS),$(MAKE) --no-print-directory -j3 --output-sync test-nodes test-engines test-others)

test-nodes:
	@$(BIN)/python -m pytest test/nodes test/playback

test-engines test-others: export OMP_NUM_THREADS := 1
test-engines:
	@$(BIN)/python -m pytest test/engine test/cli test/checkpoint_import

test-others:
	@$(BIN)/python -m pytest $(addprefix --ignore=test/,training nodes playback engine cli checkpoint_import)
	@$(BIN)/python -m pytest test/training

check-tensorrt: setup
	@$(BIN)/python .ci/check_tensorrt.py $(MODELS)

check-systems: export ROS_DOMAIN_ID := $(shell echo $$(($$$$ % 100 + 1)))
check-systems: export FASTDDS_DEFAULT_PROFILES_FILE := $(CURDIR)/config/fastdds_large_images.xml
check-systems: setup
	@$(BIN)/python .ci/check_systems.py $(REFERENCE) $(SYSTEMS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv .venv-jazzy .venv-tensorrt-* build install log *.egg-info
