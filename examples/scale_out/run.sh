#!/bin/sh
# Two server processes for STUDIES: sh run.sh DATABASE_URL REDIS_URL a.toml b.toml ...
# Then: nginx -c nginx.conf, and "http://127.0.0.1:5000?study=NAME" is a study.
#
# Once, before: createdb lab, and a token, without which nobody is let in:
#     penchant token issue --role operator --journal DATABASE_URL
# Alarms: add webhook='https://...' and ping='https://...' below. A supervisor, such as
# systemd, should start each of the two again when it ends.
set -eu

database=$1 redis=$2
shift 2
quoted=$(printf '"%s", ' "$@")
penchant db info "$database" >/dev/null || {
    echo "no token was issued there yet: see the head of this file" >&2
    exit 1
}

trap 'kill $(jobs -p) 2>/dev/null' EXIT INT TERM
for port in 5001 5002; do
    # One worker: a study has one writer. Threads: each open socket takes one.
    gunicorn --workers 1 --threads 400 --bind "127.0.0.1:$port" \
        "server.wsgi:application($quoted journal='$database', message_queue='$redis')" &
done
wait
