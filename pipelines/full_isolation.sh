#!/usr/bin/env bash
# The isolation level `full`: custodian, platform and kernels as three OS users. Run as root on Linux.
#
#   full_isolation.sh set-up CONTRACTS SOURCES AS_OF   users, folders, the custodian's home, its first build
#   full_isolation.sh identity NAME                    a token for somebody, good from the platform's OS user alone
#   full_isolation.sh gateway                          the custodian's process, in the foreground
#   full_isolation.sh lab NAME                         JupyterLab of one person, in the foreground
#   full_isolation.sh as-custodian COMMAND…            any command as the custodian
#   full_isolation.sh as-platform NAME COMMAND…        any command as the platform, on behalf of one person
#   full_isolation.sh remove                           everything that set-up made, the users too
#
# Variables: KAI_ROOT, the folder of it all (/srv/kai); KAI_NAME, what the users' names begin with (kai); KAI_BIN, the
# folder of the `kai` command, readable by every user (beside the python3 that is found first).
#
# The platform holds four capabilities: setuid and setgid start kernels as another user, kill ends them, chown gives them
# their folders. With setuid it can become anybody: the platform is trusted, and so the analyst has a browser and no
# shell there. A kernel holds none of them.
set -euo pipefail

root=${KAI_ROOT:-/srv/kai}
name=${KAI_NAME:-kai}
bin=${KAI_BIN:-$(dirname "$(command -v python3)")}
custodian=$name-custodian
platform=$name-platform
kernel=$name-kernel
capabilities=+setuid,+setgid,+kill,+chown

run=  # `exec` where the command is to take this one's place, so that it gets its signals

clean() { $run env --ignore-environment PATH="$bin:/usr/bin:/bin" LANG=C.UTF-8 "$@"; }

as_custodian() {
  clean HOME="$root/home" KAI_HOME="$root/home" \
    setpriv --reuid "$custodian" --regid "$custodian" --clear-groups --bounding-set -all --no-new-privs "$@"
}

as_platform() {
  local person=$1
  shift
  clean HOME="$root/platform" KAI_SOCKET="$root/run/gateway.sock" KAI_IDENTITY="$root/platform/identities/$person" \
    KAI_WORKSPACES="$root/platform/workspaces" KAI_LAB="$root/platform/lab" KAI_KERNEL_USER="$kernel" \
    JUPYTER_TOKEN="${JUPYTER_TOKEN:-}" \
    setpriv --reuid "$platform" --regid "$platform" --clear-groups \
    --inh-caps "-all,$capabilities" --ambient-caps "-all,$capabilities" --bounding-set "-all,$capabilities" "$@"
}

set_up() {
  local contracts=$1 sources=$2 as_of=$3
  for user in "$custodian" "$platform" "$kernel"; do
    id "$user" >/dev/null 2>&1 || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin "$user"
  done
  install -d -m 0755 "$root"
  install -d -m 0700 -o "$custodian" -g "$custodian" "$root/home"
  # the platform may reach the socket in here, and the folder hands its group down to it
  install -d -m 2750 -o "$custodian" -g "$platform" "$root/run"
  install -d -m 0711 -o "$platform" -g "$platform" "$root/platform" "$root/platform/workspaces"
  install -d -m 0700 -o "$platform" -g "$platform" "$root/platform/"{identities,lab,notebooks}
  as_custodian kai init --contracts "$contracts" --sources "$sources"
  as_custodian kai build --as-of "$as_of"
}

identity() {
  local person=$1
  as_custodian kai identity issue "$person" --uid "$(id -u "$platform")"
  install -m 0600 -o "$platform" -g "$platform" "$root/home/identities/$person.token" "$root/platform/identities/$person"
  rm "$root/home/identities/$person.token"
}

remove() {
  for user in "$custodian" "$platform" "$kernel"; do
    if id "$user" >/dev/null 2>&1; then userdel "$user"; fi
  done
  rm -rf "$root"
}

case "${1:-}" in
  set-up) set_up "$2" "$3" "$4" ;;
  identity) identity "$2" ;;
  gateway) run=exec && as_custodian kai gateway serve --socket "$root/run/gateway.sock" --group ;;
  lab) run=exec && as_platform "$2" kai lab --notebooks "$root/platform/notebooks" --no-browser ;;
  as-custodian) shift && run=exec && as_custodian "$@" ;;
  as-platform) shift && run=exec && as_platform "$@" ;;
  remove) remove ;;
  *) sed -n '2,15p' "$0" && exit 2 ;;
esac
