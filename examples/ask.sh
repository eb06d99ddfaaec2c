#!/bin/sh
# Asks about a picture with nothing but curl: submit, wait, print the answer.
#   sh examples/ask.sh [PICTURE] [QUESTION]
# BASE_URL says where Glimpse is; GLIMPSE_KEY is a key, where one is needed.
set -eu
base=${BASE_URL:-http://127.0.0.1:8080}
picture=${1:-apps/api/public/samples/shapes.png}
question=${2:-Describe the picture.}

call() {
  if [ -n "${GLIMPSE_KEY:-}" ]; then set -- -H "Authorization: Bearer $GLIMPSE_KEY" "$@"; fi
  curl -sf --retry 5 --retry-all-errors "$@"
}

# The same key and body are the same job, so that curl may try again as often as it likes.
job=$(call "$base/v1/jobs" -H "Idempotency-Key: example-$$-$(date +%s)" \
  -F image=@"$picture" -F prompt="$question" |
  sed -E 's/.*"id":"([^"]*)".*/\1/')
echo "job: $job" >&2
# Holds the answer back until the job has ended, or 30 seconds.
call "$base/v1/jobs/$job?wait=30" | sed -E 's/.*"text":"([^"]*)".*/\1/'
