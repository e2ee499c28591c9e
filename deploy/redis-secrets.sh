#!/bin/sh
# Makes what Redis and the servers need of each other: a password, and a certificate for the names under which compose.yaml and the
# manifests know Redis. What is there stays. Usage: deploy/redis-secrets.sh [folder]
set -eu
folder="${1:-$(dirname "$0")/secrets}"
# Nobody else gets into the folder; in the containers, to which single files are given, other users have to read them.
mkdir -p "$folder"
chmod 700 "$folder"
umask 022
if [ ! -e "$folder/password" ]; then
  password="$(openssl rand -hex 32)"
  printf 'requirepass %s\n' "$password" > "$folder/auth.conf"
  printf '%s' "$password" > "$folder/password"
fi
if [ ! -e "$folder/tls.crt" ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 825 -subj /CN=bitnet-redis \
    -addext subjectAltName=DNS:redis,DNS:bitnet-redis,DNS:localhost \
    -keyout "$folder/tls.key" -out "$folder/tls.crt" 2> /dev/null
  chmod 644 "$folder/tls.key"
fi
