# What the container with people's code runs, in whatever shell its image has as /bin/sh. It needs nothing but that.
#
# Beside this file lie `environment` and `command`, which the stager wrote. The code's streams go to files, from which
# the stager takes lines and messages: so nothing of them is ever in a log of the platform's that is not masked.
# `exit` is written last; a stager that never finds it knows that the container was ended from outside.
_volume=${0%/*}
: >"$_volume/started"
. "$_volume/environment"
: >"$_volume/environment" # also where there is no `rm`
rm -f "$_volume/environment"
. "$_volume/command"
_volume=${0%/*}
cd "$_volume/work" || exit 126
_timeout=${_HEADRACE_TIMEOUT:-}
unset _HEADRACE_TIMEOUT

"$@" </dev/null >>"$_volume/stdout" 2>>"$_volume/stderr" &
_child=$!

# All of the container, where this shell is its first process; elsewhere never more than the code's own process.
if [ "$$" -eq 1 ]; then _all=-1; else _all=$_child; fi
_end() { # gently first, then by force
    kill -TERM "$_all" 2>/dev/null
    (sleep 5; kill -KILL "$_all") >/dev/null 2>&1 &
}

_interrupted=
trap '_interrupted=yes; _end' TERM INT
_watch=
if [ -n "$_timeout" ]; then
    # The shell that waits holds none of the code's streams, and goes when the container does.
    (
        # Here `$!` is the code at first.
        trap '[ "$!" = "$_child" ] || kill "$!" 2>/dev/null; exit 0' TERM
        sleep "$_timeout" &
        wait "$!"
        : >"$_volume/timeout"
        _end
    ) >/dev/null 2>&1 &
    _watch=$!
fi

# A signal ends `wait` early; the code's own status is that of the wait that was not.
_status=
while :; do
    _interrupted=
    wait "$_child"
    _last=$?
    if [ "$_last" -ne 127 ] || [ -z "$_status" ]; then _status=$_last; fi
    [ -n "$_interrupted" ] || break
done
[ -z "$_watch" ] || kill "$_watch" 2>/dev/null
# What was left in the background may write its last lines; all of it ends with this shell.
sleep 0.3 2>/dev/null || sleep 1
echo "$_status" >"$_volume/exit"
exit "$_status"
