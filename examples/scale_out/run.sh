#!/bin/sh
# Two server processes for STUDIES: sh run.sh DATABASE_URL REDIS_URL a.toml b.toml ...
# Then: nginx -c nginx.conf, and http://127.0.0.1:5000?study=NAME is a study.
set -eu

database=$1 redis=$2
shift 2
quoted=$(printf '"%s", ' "$@")
penchant db info "$database" >/dev/null

for port in 5001 5002; do
    # One worker: a study has one writer. Threads: each open socket takes one.
    gunicorn --workers 1 --threads 400 --bind "127.0.0.1:$port" \
        "server.wsgi:application($quoted journal='$database', message_queue='$redis')" &
done
wait
