#!/bin/bash
# Starts a MySQL or MariaDB server by the environment contract of the official images, or runs another command.
#
# Unlike theirs, it takes any bytes in passwords and names, starts an interrupted initialisation again, and begins
# with a copy of a data directory that was initialised when the image was made.
set -euo pipefail
shopt -s nullglob

note() { printf '%s [Note] [Entrypoint]: %s\n' "$(date --iso-8601=seconds)" "$*"; }
warn() { printf '%s [Warn] [Entrypoint]: %s\n' "$(date --iso-8601=seconds)" "$*" >&2; }
fail() { printf '%s [ERROR] [Entrypoint]: %s\n' "$(date --iso-8601=seconds)" "$*" >&2; exit 1; }

if command -v mariadbd >/dev/null; then
    flavour=MARIADB server=mariadbd client=mariadb
else
    flavour=MYSQL server=mysqld client=mysql
fi

# Options alone are for the server; other commands run as they are.
[[ ${1:-} != -* ]] || set -- "$server" "$@"
case ${1:-} in
    mysqld | mariadbd) shift ;;
    *) exec "$@" ;;
esac

# setting NAME: the value of MYSQL_NAME or MARIADB_NAME, or what the file named by …_FILE holds.
setting() {
    local prefix name value='' file
    for prefix in "$flavour" MYSQL; do
        name=${prefix}_$1
        file=${name}_FILE
        if [[ -n ${!name-} && -n ${!file-} ]]; then
            fail "both $name and $file are set, but they exclude each other"
        fi
        if [[ -n ${!name-} ]]; then value=${!name}; break; fi
        if [[ -n ${!file-} ]]; then value=$(<"${!file}"); break; fi
    done
    printf '%s' "$value"
}

# SQL literals and names; the session has NO_BACKSLASH_ESCAPES, so only the quote is special.
literal() { local text=${1//\'/\'\'}; printf "'%s'" "$text"; }
name() { local text=${1//\`/\`\`}; printf '`%s`' "$text"; }

# Options that older servers knew are dropped aloud: the image may stand in for one of those.
options=()
for option in "$@"; do
    case $option in
        --ignore-db-dir=* | --ignore_db_dir=* | --default-authentication-plugin=* | --skip-host-cache)
            warn "this server does not know $option; it is left out" ;;
        *) options+=("$option") ;;
    esac
done

data=/var/lib/mysql
for option in "${options[@]}"; do [[ $option != --datadir=* ]] || data=${option#--datadir=}; done
socket=/run/mysqld/mysqld.sock
template=/usr/share/mysql-template
unfinished=$data/.initialising

# As root, the server gets a user of its own where one can be had; in a user namespace with a single
# user there is none.
identity=()
drop=()
if [[ $(id -u) == 0 ]]; then
    if setpriv --reuid=999 --regid=999 --clear-groups true 2>/dev/null; then
        mkdir -p "$data"
        find "$data" /run/mysqld \! -user 999 -exec chown 999:999 '{}' +
        drop=(setpriv --reuid=999 --regid=999 --clear-groups)
    else
        identity=(--user=root)
    fi
fi
as_server() { "${drop[@]}" "$@"; }

initialise() {
    note "initialising $data"
    as_server rm -rf "$data"/* "$data"/.[!.]*
    as_server touch "$unfinished"
    if [[ -d $template ]]; then
        as_server cp -R --reflink=auto "$template/." "$data/"
        # Who the server is, is its own.
        as_server rm -f "$data"/auto.cnf "$data"/*.pem
    elif [[ $flavour == MARIADB ]]; then
        as_server mariadb-install-db --auth-root-authentication-method=normal --skip-test-db \
            --datadir="$data" "${identity[@]}" >/dev/null
    else
        # The server insists on an empty directory.
        as_server rm "$unfinished"
        as_server "$server" "${identity[@]}" --datadir="$data" --initialize-insecure "${options[@]}"
        as_server touch "$unfinished"
    fi
}

# The accounts and the database that the environment asks for.
accounts() {
    local root_password host database user password
    root_password=$(setting ROOT_PASSWORD)
    if [[ -z $root_password && -n $(setting RANDOM_ROOT_PASSWORD) ]]; then
        root_password=$(head -c 24 /dev/urandom | base64)
        note "GENERATED ROOT PASSWORD: $root_password"
    fi
    if [[ -z $root_password && -z $(setting ALLOW_EMPTY_PASSWORD)$(setting ALLOW_EMPTY_ROOT_PASSWORD) ]]; then
        fail "the database is not initialised, and no ${flavour}_ROOT_PASSWORD says what root's password shall be"
    fi
    host=$(setting ROOT_HOST)
    host=${host:-%}
    database=$(setting DATABASE)
    user=$(setting USER)
    password=$(setting PASSWORD)
    printf "SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES');\n"
    printf 'SET @@SESSION.sql_log_bin = 0;\n'
    printf 'ALTER USER root@localhost IDENTIFIED BY %s;\n' "$(literal "$root_password")"
    if [[ $host != localhost ]]; then
        printf 'CREATE USER root@%s IDENTIFIED BY %s;\n' "$(literal "$host")" "$(literal "$root_password")"
        printf 'GRANT ALL ON *.* TO root@%s WITH GRANT OPTION;\n' "$(literal "$host")"
    fi
    [[ -z $database ]] || printf 'CREATE DATABASE IF NOT EXISTS %s;\n' "$(name "$database")"
    if [[ -n $user && -n $password ]]; then
        printf "CREATE USER %s@'%%' IDENTIFIED BY %s;\n" "$(literal "$user")" "$(literal "$password")"
        if [[ -n $database ]]; then
            # In a grant, _ and % of a name are wildcards.
            local pattern=${database//_/\\_}
            printf "GRANT ALL ON %s.* TO %s@'%%';\n" "$(name "$pattern")" "$(literal "$user")"
        fi
    fi
    note "root's password is set" >&2
}

# The official images' scripts call these.
mysql_note() { note "$@"; }
mysql_warn() { warn "$@"; }
mysql_error() { fail "$@"; }
docker_process_sql() {
    local database
    database=$(setting DATABASE)
    as_server "$client" --defaults-extra-file=<(client_options) --protocol=socket --socket="$socket" \
        --comments --binary-mode ${database:+--database="$database"} "$@"
}
client_options() {
    local password
    password=$(setting ROOT_PASSWORD)
    password=${password//\\/\\\\}
    password=${password//\"/\\\"}
    password=${password//$'\n'/\\n}
    printf '[client]\nuser=root\npassword="%s"\n' "$password"
}

run_scripts() {
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        case $script in
            *.sh)
                note "running $script"
                # As the official images do: a script that may run is run, another is read.
                if [[ -x $script ]]; then "$script"; else . "$script"; fi ;;
            *.sql) note "running $script"; docker_process_sql <"$script" ;;
            *.sql.gz) note "running $script"; gzip -dc "$script" | docker_process_sql ;;
            *.sql.xz) note "running $script"; xz -dc "$script" | docker_process_sql ;;
            *) warn "ignoring $script" ;;
        esac
    done
}

# fill: what a fresh server gets before anybody can reach it.
fill() {
    local file server_pid tries=0
    file=$(as_server mktemp /tmp/accounts.XXXXXX)
    accounts | as_server tee "$file" >/dev/null
    "${drop[@]}" "$server" "${identity[@]}" "${options[@]}" --skip-networking --socket="$socket" \
        --skip-log-bin ${1:+"$1"} &
    server_pid=$!
    until as_server "$client" --no-defaults --protocol=socket --socket="$socket" --user=root \
        -e 'SELECT 1' >/dev/null 2>&1; do
        kill -0 "$server_pid" 2>/dev/null || fail "the server did not start; its messages are above"
        ((++tries < 6000)) || fail "the server did not answer within five minutes"
        sleep 0.05
    done
    as_server "$client" --no-defaults --protocol=socket --socket="$socket" --user=root \
        --default-character-set=utf8mb4 --binary-mode <"$file"
    as_server rm -f "$file"
    run_scripts
    kill "$server_pid"
    wait "$server_pid" || fail "the server did not end well after its initialisation"
}

if [[ -e $unfinished ]]; then
    warn "an earlier initialisation of $data did not end; it is done again"
fi
if [[ -e $unfinished || ! -d $data/mysql ]]; then
    initialise
    extra=
    [[ $flavour != MYSQL ]] || extra=--mysqlx=OFF
    fill "$extra"
    as_server rm "$unfinished"
    note "$data is initialised"
fi

# The environment's secrets are not for the server's eyes.
for variable in "${!MYSQL_@}" "${!MARIADB_@}"; do
    [[ $variable != *PASSWORD ]] || unset "$variable"
done
exec "${drop[@]}" "$server" "${identity[@]}" "${options[@]}"
