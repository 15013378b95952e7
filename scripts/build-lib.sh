# How the habits configure and build. Sourced after lib.sh.
# shellcheck shell=bash

# configure PRESET OPTION=VALUE…: makes sure that build/PRESET exists and has these options; it keeps those that it had.
configure() {
  local preset=$1 folder=$root/build/$1 log=$root/build/$1.configure.log option how=() fresh=true
  shift
  mkdir -p "$root/build"
  if [[ -f $folder/build.ninja && $folder/CMakeCache.txt -nt $root/CMakePresets.json ]]; then
    fresh=false
    for option in "$@"; do
      grep -q "^${option%%=*}:[A-Z]*=${option#*=}$" "$folder/CMakeCache.txt" || how+=("-D$option")
    done
    [[ ${#how[@]} -gt 0 ]] || return 0
    how=(-B "$folder" "${how[@]}")
  else
    how=(--preset "$preset" "${@/#/-D}")
    [[ -f $folder/CMakeCache.txt || " $* " == *" ASSAY_TESTS="* ]] || how+=(-DASSAY_TESTS=OFF)
  fi
  (cd "$root" && cmake "${how[@]}" >"$log" 2>&1) && touch "$folder/CMakeCache.txt" && return 0
  tail -n 25 "$log" >&2
  ! $fresh || rm -f "$folder/build.ninja"
  die 1 "cmake could not configure build/$preset" "the whole output is in build/$preset.configure.log"
}

# build PRESET [OPTION=VALUE…] -- TARGET…
build() {
  local preset=$1 options=()
  shift
  while [[ $1 != -- ]]; do options+=("$1"); shift; done
  shift
  # libllama comes from the cache, or from its pinned package.
  options+=("ASSAY_LLAMA_DIR=${ASSAY_LLAMA_DIR:-$("$root/scripts/fetch-llama")}")
  configure "$preset" "${options[@]}"
  NINJA_STATUS='[%f/%t %es] ' cmake --build "$root/build/$preset" --parallel "$jobs" --target "$@" >&2 || return 1
  # One well-known place for the program, whatever the preset's folder is called.
  [[ $preset != release || ! -x $root/build/release/assay ]] || ln -sfn release/assay "$root/build/assay"
}

# The unit test programs: one a layer that has tests.
unit_tests() {
  local folder
  for folder in "$root"/assay/*/; do
    ! compgen -G "$folder*_test.cc" >/dev/null || printf 'assay_%s_test\n' "$(basename "$folder")"
  done
}

# The programs of examples/NAME/main.cc.
example_programs() {
  local source
  for source in "$root"/examples/*/main.cc; do printf 'example_%s\n' "$(basename "$(dirname "$source")")"; done
}
