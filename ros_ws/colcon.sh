#!/usr/bin/env bash
# Build with colcon into ros_ws/install.
#
#   ros_ws/colcon.sh VENV [FOLDER...]     folders with packages, below ros_ws; `src ..` unless told
#
# colcon runs from the venv, so that the nodes it installs start with the venv's Python and find
# torch and the rest there. Packages that are installed already are left out: both interface
# packages where ROS itself comes from the venv, and the wire contract where the real driver is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
venv=$(realpath "${1:?usage: colcon.sh VENV [FOLDER...]}")
folders=("${@:2}")
[[ ${#folders[@]} -gt 0 ]] || folders=(src ..)

if [[ -z ${ROS_DISTRO:-} ]]; then
  export AMENT_PREFIX_PATH=$venv CMAKE_PREFIX_PATH=$venv PATH=$venv/bin:$PATH
fi

skip=()
IFS=: read -ra prefixes <<<"$AMENT_PREFIX_PATH"
for source in src/*/; do
  package=$(basename "$source")
  for prefix in "${prefixes[@]}"; do
    [[ $prefix == "$PWD"/install* ]] && continue # our own earlier build
    [[ -e $prefix/share/ament_index/resource_index/packages/$package ]] && skip+=("$package")
  done
done
[[ ${#skip[@]} -eq 0 ]] || skip=(--packages-ignore "${skip[@]}")

exec "$venv/bin/python" -m colcon build --base-paths "${folders[@]}" "${skip[@]}" \
  --cmake-args "-DPython3_EXECUTABLE=$venv/bin/python" -DBUILD_TESTING=OFF
