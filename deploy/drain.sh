#!/bin/sh
# Take a web server out of nginx before it is restarted, and put it back afterwards.
#   drain.sh down 127.0.0.1:8001    new requests go elsewhere; what is under way goes on
#   drain.sh up 127.0.0.1:8001
# UPSTREAM names nginx's list of servers (/etc/nginx/upstream.conf), NGINX_PROGRAM the program (nginx).
set -eu

usage() {
    echo "usage: $0 down|up SERVER, such as: $0 down 127.0.0.1:8001" >&2
    exit 2
}

[ $# -eq 2 ] || usage
upstream=${UPSTREAM:-/etc/nginx/upstream.conf}
server=$(printf '%s' "$2" | sed 's/[.[\*^$/]/\\&/g')
line="^\\( *server  *$server\\)\\( [^;]*\\)*;"

grep -q "$line" "$upstream" || {
    echo "$0: no server $2 in $upstream" >&2
    exit 1
}
case $1 in
up) change="/$line/s/ down;/;/" ;;
down)
    if ! grep '^ *server ' "$upstream" | grep -v ' down;' | grep -qv "$line"; then
        echo "$0: $2 is the only server left; bring another one up first" >&2
        exit 1
    fi
    change="/$line/{/ down;/!s/;/ down;/;}"
    ;;
*) usage ;;
esac

changed=$(sed "$change" "$upstream")
printf '%s\n' "$changed" >"$upstream" # not `sed -i`: the file keeps its owner and its inode
${NGINX_PROGRAM:-nginx} -t -q
${NGINX_PROGRAM:-nginx} -s reload
