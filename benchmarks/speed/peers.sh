#!/bin/sh
# Make the environment of the peers, benchmarks/.venv-peers. One that cannot be installed is left
# out, and the tables show the reason.
set -eu
cd "$(dirname "$0")"
"${PYTHON:-python3}" -m venv ../.venv-peers
grep -v '^#' peers.txt | while read -r pin; do
    ../.venv-peers/bin/python -m pip install -q --disable-pip-version-check -c peers.txt "$pin" ||
        echo "$pin cannot be installed here" >&2
done
