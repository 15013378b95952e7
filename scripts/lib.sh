# Shared by ./x and the scripts beside this file: messages, stages with their times, and where things are kept.
# Sourced, never run. Exit codes are those of assay itself: 1 failed, 2 wrong usage, 7 something cannot be reached.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# What is downloaded or built from others' sources stays outside the clone, so that the next clone finds it.
cache=${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/assay
jobs=${ASSAY_JOBS:-$(nproc)}

say() { printf '%s\n' "$*" >&2; }

# die CODE MESSAGE [REMEDY]: what happened, what to do, and the exit code.
die() {
  say "error: $2"
  [[ -z ${3-} ]] || say "  try  $3"
  exit "$1"
}

# help_of FILE: the comment at the top of a script is its manual.
help_of() { sed -n '2,/^[^#]/{/^#/!d;/shellcheck/d;s/^# \{0,1\}//;p}' "$1"; }

# The value of `--name VALUE`, or exit 2: value_of "$@"
value_of() {
  [[ $# -ge 2 ]] || die 2 "$1 needs a value"
  printf '%s' "$2"
}

stage_names=() stage_seconds=() stage_began=

now_ms() { printf '%s' $((${EPOCHREALTIME/[.,]/} / 1000)); }

end_stage() {
  [[ -n $stage_began ]] || return 0
  stage_seconds+=("$((($(now_ms) - stage_began) / 100))")  # tenths
  stage_began=
}

# stage NAME: ends the stage before and starts this one.
stage() {
  end_stage
  stage_names+=("$1")
  stage_began=$(now_ms)
  say "── $1"
}

# The table of stage times, at the end of a habit.
stage_table() {
  end_stage
  local i total=0
  say ""
  for i in "${!stage_seconds[@]}"; do
    total=$((total + stage_seconds[i]))
    say "$(printf '%6d.%d s  %s' $((stage_seconds[i] / 10)) $((stage_seconds[i] % 10)) "${stage_names[i]}")"
  done
  say "$(printf '%6d.%d s  in all' $((total / 10)) $((total % 10)))"
}

# setup GROUP…: what these groups of scripts/packages need and this machine lacks.
setup() { "$root/scripts/habits/setup" "$@"; }

# python_packages NAME REQUIREMENTS: an environment in the cache with these packages, pinned with hashes; prints its folder.
# The marker comes last, so that an interrupted installation is started again.
python_packages() {
  local venv
  venv=$cache/venv/$1-$(cat "$2" <(python3 --version) | sha256sum | cut -c1-16)
  if [[ ! -f $venv/.installed ]]; then
    say "Python packages of $1"
    rm -rf "$venv"
    python3 -m venv "$venv" || return 1
    "$venv/bin/pip" --disable-pip-version-check install --quiet --require-hashes --only-binary :all: -r "$2" >&2 || return 1
    touch "$venv/.installed"
  fi
  printf '%s\n' "$venv"
}

# Compiler cache: the same results in any clone and build folder.
export CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
