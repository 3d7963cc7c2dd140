#!/usr/bin/env bash
# The homework's verification by hand, without Kubernetes: the time that no operator can beat.
#
#   floor.sh LAYER...      the layers of a MySQL image, lowest first
#
# Two lives of a server: initialise, start, fill, dump, stop; initialise anew, start, restore, change the
# password, log in, stop. It prints the seconds of each step and `total SECONDS s` at the end. Needs no root.
set -euo pipefail

if [ -z "${FLOOR_INSIDE:-}" ]; then
    work=$(mktemp -d)
    trap 'chmod -R u+rwx "$work" 2>/dev/null; rm -rf "$work"' EXIT
    FLOOR_INSIDE=$work unshare --user --map-root-user --mount --pid --fork --kill-child -- \
        bash "$0" "$@"
    exit
fi

work=$FLOOR_INSIDE
root=$work/root
mkdir "$root" "$work/upper" "$work/work"
lower=
for layer in "$@"; do lower=$layer${lower:+:$lower}; done
mount -t overlay overlay \
    -o "lowerdir=$lower,upperdir=$work/upper,workdir=$work/work,userxattr" "$root"
mkdir -p "$root/proc" "$root/dev" "$root/run" "$root/tmp" "$root/var/lib/mysql-files"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"

inside() { chroot "$root" /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
sql() { inside mysql --user=root --socket=/run/floor.sock "$@"; }

begin=$EPOCHREALTIME
last=$begin
step() {
    local now=$EPOCHREALTIME
    awk -v a="$last" -v b="$now" -v name="$1" 'BEGIN { printf "%6.2f s  %s\n", b - a, name }'
    last=$now
}

options=(--no-defaults --user=root --datadir=/floor-data --socket=/run/floor.sock
    --pid-file=/run/floor.pid --mysqlx=OFF --lc-messages-dir=/usr/share/mysql)

life() {
    rm -rf "$root/floor-data"
    inside mysqld "${options[@]}" --initialize-insecure 2>>"$work/log"
    step "initialise"
    inside mysqld "${options[@]}" 2>>"$work/log" &
    server=$!
    until sql -e 'SELECT 1' >/dev/null 2>&1; do
        kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
        read -rt 0.02 <> <(:) || :
    done
    sql -e "ALTER USER root@localhost IDENTIFIED BY 'otuspassword';
            CREATE DATABASE \`otus-database\`"
    export MYSQL_PWD=otuspassword
    step "start"
}

stop() {
    kill "$(cat "$root/run/floor.pid")"
    wait "$server"
    unset MYSQL_PWD
    step "stop"
}

life
sql otus-database -e "CREATE TABLE test (id smallint unsigned not null auto_increment,
    name varchar(20) not null, constraint pk_example primary key (id));
    INSERT INTO test VALUES (null, 'some data'); INSERT INTO test VALUES (null, 'some data-2')"
step "fill"
inside mysqldump --user=root --socket=/run/floor.sock --single-transaction --routines --events \
    --triggers otus-database >"$work/dump.sql" 2>>"$work/log"
sync "$work/dump.sql"
step "dump"
stop
life
sql otus-database <"$work/dump.sql"
step "restore"
sql -e "ALTER USER root@localhost IDENTIFIED BY 'newpassword'"
MYSQL_PWD=newpassword sql -ss otus-database -e 'SELECT count(*) FROM test' >"$work/count"
[ "$(cat "$work/count")" = 2 ] || { echo "the rows are not back" >&2; exit 1; }
export MYSQL_PWD=newpassword
step "change the password"
stop
awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "total %.2f s\n", b - a }'
