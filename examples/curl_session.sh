#!/bin/sh
# One session of a made-up subject by curl alone: what HTTP asks of any client.
#
#     sh examples/curl_session.sh http://127.0.0.1:5000 mouse-07
#
# Of several studies at one server the URL names one: http://...:5000?study=NAME. A
# server with a token wants it in PENCHANT_TOKEN. Replace `present` by your hardware.
set -eu

url=${1:?usage: curl_session.sh URL SUBJECT}
subject=${2:?usage: curl_session.sh URL SUBJECT}
case $url in *\?*) query="?${url#*\?}" ;; *) query= ;; esac
server=${url%%\?*}
server=${server%/}
token=${PENCHANT_TOKEN:+,\"token\":\"$PENCHANT_TOKEN\"}
patience=300 # attempts, a fifth of a second apart

# say KIND FIELDS: sends a message, again and again until it is answered, and prints
# the reply. The same message again counts once: a response is known by its uid. The
# body, which may hold the token, goes by a pipe: other users see a command's words.
say() {
    attempt=0
    while [ "$attempt" -lt "$patience" ]; do
        answer=$(printf '{%s%s}' "$2" "$token" |
            curl --silent --max-time 30 --header 'Content-Type: application/json' \
                --data-binary @- --write-out '\n%{http_code}' \
                "$server/api/v1/$1$query") || answer=' 000'
        body=${answer%????} # its last line is the status
        case ${answer#"$body"} in
            *200) printf '%s\n' "$body"; return 0 ;;
            *429) sleep 1 ;;
            *000 | *502 | *503 | *504) sleep 0.2 ;;
            *) echo "$1 was refused: $body" >&2; return 1 ;;
        esac
        attempt=$((attempt + 1))
    done
    echo "no answer from $server" >&2
    return 1
}

# pick NAME: the text or number of a field, from replies that hold it once.
pick() {
    sed -n 's/.*"'"$1"'": *"\{0,1\}\([^",}]*\).*/\1/p'
}

is() {
    case $reply in *'"type":"'"$1"'"'*) return 0 ;; *) return 1 ;; esac
}

# A trial, whose whole JSON is in $reply: prints the fields of the response. This
# subject watches in training and always answers the same in the test.
present() {
    case $reply in
        *'"phase":"training"'*) printf '"outcome":"responded"' ;;
        *) printf '"value":1.0,"reaction_time_s":0.4' ;;
    esac
}

# Beside the trials: renews the lease, and stops the session in an emergency.
heartbeat() {
    while sleep "$pause" && alive=$(say heartbeat "\"session\":\"$session\""); do
        case $alive in
            *'"emergency":true'*) kill -TERM "$session_pid"; return ;;
            *'"type":"done"'*) return ;;
        esac
    done
}

safe_state() {
    echo "safe state: dry, dark, still" >&2
}

hello="\"protocol\":1,\"subject\":\"$subject\",\"capabilities\":{\"client\":\"curl\"}"
reply=$(say hello "$hello")
while is wait; do
    sleep "$(printf '%s' "$reply" | pick retry_after_s)"
    reply=$(say hello "$hello")
done
if is done; then
    printf '%s' "$reply" | pick reason
    exit 0
fi

session=$(printf '%s' "$reply" | pick session)
pause=$(printf '%s' "$reply" | pick heartbeat_s)
session_pid=$$
trap 'safe_state; exit 1' TERM INT
heartbeat >/dev/null 2>&1 & # the trials meet the same faults, and tell
beating=$!
trap 'kill "$beating" 2>/dev/null || :' EXIT

# Always asking for the trial that is due keeps this short; a client that knows JSON
# finds the next trial in the acknowledgement.
reply=$(say next "\"session\":\"$session\"") || { safe_state; exit 1; }
while ! is done; do
    if is wait; then # paused
        sleep "$(printf '%s' "$reply" | pick retry_after_s)"
    else
        uid=$(printf '%s' "$reply" | pick uid)
        response="\"session\":\"$session\",\"uid\":\"$uid\",$(present)"
        say respond "$response" >/dev/null || { safe_state; exit 1; }
    fi
    reply=$(say next "\"session\":\"$session\"") || { safe_state; exit 1; }
done
case $reply in *'"emergency":true'*) safe_state ;; esac
printf '%s' "$reply" | pick reason
