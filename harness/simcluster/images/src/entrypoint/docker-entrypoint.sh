#!/bin/bash
# Starts the database server of this image, and sets it up when its data directory is empty.
#
# It keeps the contract that the official images made customary (environment variables, their _FILE variants,
# /docker-entrypoint-initdb.d, options instead of a command). Every value from the environment reaches the server
# whole, whatever bytes it has, and never on a command line.
#
# An empty data directory becomes a copy of the image's template, and the server itself reads the set-up statements
# before it lets anybody connect; only files for the first start that need more get a server of their own. A set-up that
# was interrupted is started over.
set -eo pipefail
shopt -s nullglob

readonly template=/usr/share/mysql-template
readonly initdb=/docker-entrypoint-initdb.d
readonly defaults_group=(mysqld server mariadbd mariadb)

if [ -x /usr/sbin/mariadbd ]; then
    readonly product=MariaDB server=mariadbd prefixes=(MARIADB MYSQL)
    readonly client=mariadb
else
    readonly product=MySQL server=mysqld prefixes=(MYSQL)
    readonly client=mysql
fi

log() {
    printf '%(%Y-%m-%d %H:%M:%S%z)T [%s] [Entrypoint]: %s\n' -1 "$1" "$2" >&2
}

fail() {
    log ERROR "$1"
    exit 1
}

# setting NAME: puts the value of PREFIX_NAME, or the content of the file named by PREFIX_NAME_FILE, in $value.
# Fails when neither is set or when it is empty.
setting() {
    local prefix name file
    value=
    for prefix in "${prefixes[@]}"; do
        name=${prefix}_$1 file=${prefix}_$1_FILE
        if [ -n "${!name}" ] && [ -n "${!file}" ]; then
            fail "$name and $file are both set; set only one of them"
        elif [ -n "${!file}" ]; then
            [ -r "${!file}" ] || fail "$file names ${!file}, which cannot be read"
            value=$(< "${!file}")
        else
            value=${!name}
        fi
        [ -z "$value" ] || return 0
    done
    return 1
}

# literal TEXT: TEXT as an SQL string.
literal() {
    local LC_ALL=C text=$1
    text=${text//\\/\\\\}
    printf "'%s'" "${text//\'/\\\'}"
}

# identifier NAME: NAME as an SQL identifier.
identifier() {
    local LC_ALL=C
    printf '`%s`' "${1//\`/\`\`}"
}

# statement SQL: SQL as the set-up gives it to the server. What looks for the end of statements there is confused by
# quotes within quotes, so it is shown none.
statement() {
    local hex
    hex=$(printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n')
    printf '%s\n' "SET @statement = 0x$hex;" "PREPARE statement FROM @statement;" "EXECUTE statement;"
}

# pattern NAME: NAME as a database in GRANT, where some characters stand for others.
pattern() {
    local text=${1//_/\\_}
    identifier "${text//%/\\%}"
}

# option NAME ARGUMENT...: the value of the last --NAME among configuration files and arguments, in $value.
# Fails when there is none.
option() {
    local wanted=$1 argument name found=1
    shift
    value=
    while [ $# -gt 0 ]; do
        argument=$1
        shift
        name=${argument%%=*} name=${name#--}
        if [ "${name//_/-}" = "$wanted" ]; then
            found=0
            case $argument in
                *=*) value=${argument#*=} ;;
                *) value=$1 ;;
            esac
        fi
    done
    return "$found"
}

# configured_options: what the configuration files say, as arguments, in $configured.
configured_options() {
    configured=()
    local line in_group=
    if command -v my_print_defaults > /dev/null; then
        mapfile -t configured < <(my_print_defaults "${defaults_group[@]}")
        return
    fi
    while read -r line; do
        case $line in
            \[*\]) in_group= ; [[ " ${defaults_group[*]} " = *" ${line:1:-1} "* ]] && in_group=1 ;;
            \#* | \;* | !* | '') ;;
            *)
                if [ -n "$in_group" ]; then
                    line=${line/ = /=}
                    configured+=("--${line// /}")
                fi
                ;;
        esac
    done < <(cat /etc/my.cnf /etc/mysql/my.cnf /etc/mysql/conf.d/*.cnf /etc/mysql/mariadb.conf.d/*.cnf 2> /dev/null)
}

# Options that servers once had. Where this image stands in for an older one, those that the server at hand does not
# know are left out, for it would not start with them.
readonly once_known=" avoid-temporal-upgrade binlog-max-flush-queue-time binlog-transaction-dependency-tracking
 character-set-client-handshake date-format datetime-format default-authentication-plugin des-key-file
 expire-logs-days ignore-builtin-innodb ignore-db-dir innodb innodb-api-disable-rowlock innodb-checksums
 innodb-file-format innodb-file-format-check innodb-file-format-max innodb-large-prefix innodb-locks-unsafe-for-binlog
 innodb-log-files-in-group innodb-log-file-size innodb-stats-sample-pages innodb-support-xa innodb-undo-logs
 internal-tmp-disk-storage-engine log-bin-use-v1-row-events log-builtin-as-identified-by-password
 log-slow-admin-statements log-syslog log-warnings master-info-file master-info-repository max-tmp-tables
 metadata-locks-cache-size metadata-locks-hash-instances multi-range-count mysql-native-password old old-passwords
 partition query-cache-limit query-cache-min-res-unit query-cache-size query-cache-type query-cache-wlock-invalidate
 relay-log-info-file relay-log-info-repository secure-auth show-compatibility-56 slave-rows-search-algorithms
 host-cache ssl symbolic-links sync-frm temp-pool thread-handling time-format transaction-write-set-extraction
 tx-isolation tx-read-only "
readonly once_modes="DB2 MAXDB MSSQL MYSQL323 MYSQL40 NO_AUTO_CREATE_USER NO_FIELD_OPTIONS NO_KEY_OPTIONS
 NO_TABLE_OPTIONS ORACLE POSTGRESQL"

# fitting SERVER ARGUMENT...: the arguments that the server at hand can have, in $fitting.
fitting() {
    fitting=("$1")
    local program=$1 stand_in=$DATABASE_STANDS_IN_FOR argument name bare modes mode known=
    shift
    while [ $# -gt 0 ]; do
        argument=$1
        shift
        name=${argument%%=*} name=${name#--} name=${name//_/-}
        bare=${name#loose-} bare=${bare#skip-} bare=${bare#disable-} bare=${bare#enable-}
        if [ -n "$stand_in" ] && [[ $argument = --* ]] && [[ $once_known = *[[:space:]]"$bare"[[:space:]]* ]]; then
            [ -n "$known" ] || known=$("$program" --no-defaults --user=root --verbose --help 2> /dev/null || :)
            if ! [[ $known =~ --(skip-)?"$bare"[^a-z0-9-] ]]; then
                log Warn "option $argument is ignored: $product stands in for version $stand_in here and no longer has it"
                # The value may be an argument of its own.
                [[ $argument = *=* || $1 = -* ]] || shift || :
                continue
            fi
        elif [ -n "$stand_in" ] && [ "$product" = MySQL ] && [[ $name = sql-mode && $argument = *=* ]]; then
            modes=,${argument#*=},
            for mode in $once_modes; do
                if [[ ${modes^^} = *",$mode,"* ]]; then
                    log Warn "SQL mode $mode is ignored: $product stands in for version $stand_in here and no longer has it"
                    modes=${modes^^} modes=${modes//",$mode,"/,}
                fi
            done
            modes=${modes#,}
            argument=--sql-mode=${modes%,}
        fi
        fitting+=("$argument")
    done
}

# Whether files in the template would not be as these options want them.
needs_own_initialisation() {
    local name
    for name in default-table-encryption innodb-data-file-path innodb-data-home-dir innodb-doublewrite-dir \
        innodb-log-group-home-dir innodb-page-size innodb-redo-log-encrypt innodb-undo-directory \
        innodb-undo-log-encrypt innodb-undo-tablespaces lower-case-table-names; do
        option "$name" "${configured[@]}" "$@" && return 0
    done
    return 1
}

# Statements of the first set-up. Each may be run again.
setup_statements() {
    local root_host user database password
    echo "SET SESSION sql_log_bin = 0;"
    if [ "$product" = MariaDB ]; then
        # Its own initialisation makes further users, without passwords.
        echo "DELETE FROM mysql.global_priv WHERE User NOT IN ('root', 'mariadb.sys') OR Host <> 'localhost';"
        echo "FLUSH PRIVILEGES;"
    fi
    # Names are text; passwords are bytes.
    echo "SET SESSION sql_mode = '';"
    echo "SET NAMES utf8mb4;"
    if setting DATABASE; then
        database=$value
        statement "CREATE DATABASE IF NOT EXISTS $(identifier "$database")"
    fi
    if [ -n "$setup_user" ]; then
        user="$(identifier "$setup_user")@'%'"
        statement "CREATE USER IF NOT EXISTS $user"
        [ -z "$database" ] || statement "GRANT ALL ON $(pattern "$database").* TO $user"
    fi
    root_host=%
    setting ROOT_HOST && root_host=$value
    if [ "$root_host" != localhost ]; then
        root_host="'root'@$(identifier "$root_host")"
        statement "CREATE USER IF NOT EXISTS $root_host"
        statement "GRANT ALL ON *.* TO $root_host WITH GRANT OPTION"
    else
        root_host=
    fi
    echo "SET NAMES binary;"
    [ -z "$setup_user" ] || statement "ALTER USER $user IDENTIFIED BY $(literal "$setup_user_password")"
    password=$(literal "$setup_root_password")
    [ -z "$root_host" ] || statement "ALTER USER $root_host IDENTIFIED BY $password"
    statement "ALTER USER 'root'@'localhost' IDENTIFIED BY $password"
    if setting ONETIME_PASSWORD; then
        [ -z "$root_host" ] || statement "ALTER USER $root_host PASSWORD EXPIRE"
        statement "ALTER USER 'root'@'localhost' PASSWORD EXPIRE"
    fi
}

# Reads all that the set-up needs, so that what is missing is said before anything is made.
read_settings() {
    local name
    if setting ROOT_PASSWORD; then
        setup_root_password=$value
    elif setting RANDOM_ROOT_PASSWORD; then
        setup_root_password=$(head -c 24 /dev/urandom | base64)
        log Note "GENERATED ROOT PASSWORD: $setup_root_password"
    elif ! setting ALLOW_EMPTY_PASSWORD && ! setting ALLOW_EMPTY_ROOT_PASSWORD; then
        fail "the data directory is empty and no root password is given: set one of ${prefixes[0]}_ROOT_PASSWORD, \
${prefixes[0]}_ALLOW_EMPTY_PASSWORD and ${prefixes[0]}_RANDOM_ROOT_PASSWORD"
    fi
    setting USER && setup_user=$value
    setting PASSWORD && setup_user_password=$value
    for name in USER DATABASE ROOT_HOST; do
        if setting "$name" && [[ $value = *[[:cntrl:]]* ]]; then
            fail "${prefixes[0]}_$name must not have control characters"
        fi
    done
    if [ "$setup_user" = root ]; then
        fail "${prefixes[0]}_USER is for a further user and cannot be root: set ${prefixes[0]}_ROOT_PASSWORD instead"
    elif [ -n "$setup_user" ] && [ -z "$setup_user_password" ]; then
        log Warn "${prefixes[0]}_USER is set without ${prefixes[0]}_PASSWORD: no user is made"
        setup_user=
    elif [ -z "$setup_user" ] && [ -n "$setup_user_password" ]; then
        log Warn "${prefixes[0]}_PASSWORD is set without ${prefixes[0]}_USER: no user is made"
    fi
}

# Whether the server itself can read what is in initdb.d, which saves it a start and an end: statements that need no
# client to be understood, a line each, and scripts that only make or touch files. When in doubt it cannot.
server_can_read_initdb() {
    local file line lines statement
    statement="^(ALTER|CREATE|GRANT|INSERT) ([][A-Z0-9_.,=@*()% ]|'[^'\\;]*'|\`[^\`;]*\`)*;$"
    for file in "$initdb"/*; do
        case $file in
            *.sql)
                ! setting DATABASE || [[ $value =~ ^[A-Za-z0-9_-]+$ ]] || return 1
                lines="^$|$statement"
                ;;
            *.sh)
                [ ! -x "$file" ] || return 1
                lines='^$|^#|^: >>? [A-Z0-9_./-]+$'
                ;;
            *) return 1 ;;
        esac
        while read -r line || [ -n "$line" ]; do
            [[ ${line^^} =~ $lines ]] || return 1
        done < "$file" || return 1
    done
}

# The statements of initdb.d, as a client of its own would run them.
initdb_statements() {
    local file files=("$initdb"/*.sql)
    [ "${#files[@]}" -gt 0 ] || return 0
    echo "SET SESSION sql_log_bin = 1, sql_mode = DEFAULT;"
    echo "SET NAMES utf8mb4;"
    ! setting DATABASE || echo "USE $(identifier "$value");"
    for file in "${files[@]}"; do
        cat "$file" || return
        echo
    done
}

# All statements were run: what the scripts of initdb.d do to files, and the end of the set-up.
finish_with_scripts() {
    local file
    for file in "$initdb"/*; do
        case $file in
            *.sh)
                log Note "reading $file"
                # shellcheck disable=SC1090
                . "$file"
                ;;
            *) log Note "the server has run $file" ;;
        esac
    done
    finish
}

# feed STATEMENTS FINISH: gives the first statements and what STATEMENTS prints to the server through the pipe, then
# runs FINISH, then lets the server go on.
#
# The server reads on only after it ran what it has read, and closes the pipe at the first error. So when more than a
# pipe and a buffer hold has gone through after the statements, all of them were run.
feed() {
    local padding i
    trap '' PIPE
    exec 3> "$pipe"
    rm -f "$pipe"
    padding=$(printf '%016000d' 0)
    {
        setup_statements
        "$1" || return
        for i in {1..10}; do
            echo "DO 0 /* $padding */;"
        done
    } >&3 2> /dev/null || return
    "$2"
}

# set_up SERVER STATEMENTS FINISH: runs beside the server until it is set up; ends it if that fails.
set_up() {
    local main=$1 feeder
    feed "$2" "$3" &
    feeder=$!
    # The pipe has no reader if the server does not even start.
    while kill -0 "$feeder" 2> /dev/null; do
        kill -0 "$main" 2> /dev/null || kill "$feeder" 2> /dev/null || :
        sleep 0.1
    done
    if ! wait "$feeder"; then
        log ERROR "the server did not run all statements of its set-up; what it says above tells why"
        kill "$main" 2> /dev/null || :
        return 1
    fi
}

# The data directory is complete; from now on it is never started over. (On disk this is so no later than the first
# row that the server makes durable: file systems keep the order.)
finish() {
    rm -f "$unfinished"
}

make_data_directory() {
    if [ -d "$template" ] && ! needs_own_initialisation "$@"; then
        # Files belong to who runs this, and nobody else reads them.
        (umask 027 && cp -r --reflink=auto --no-preserve=all "$template/." "$datadir/")
        : > "$datadir/ib_buffer_pool"
        return
    fi
    log Note "initialising the data directory with options of its own"
    if [ "$product" = MariaDB ]; then
        mariadb-install-db --datadir="$datadir" --auth-root-authentication-method=normal --skip-test-db \
            --cross-bootstrap "${@:2}" > /dev/null
    else
        "$@" --initialize-insecure
    fi
    setting INITDB_SKIP_TZINFO || log Note "time zone tables are left empty: fill them with mysql_tzinfo_to_sql"
}

# docker_process_sql ARGUMENT...: runs SQL from standard input; scripts in initdb.d may call it.
docker_process_sql() {
    local arguments=(--protocol=socket --socket="$socket" --user=root)
    [ "$1" = --dont-use-mysql-root-password ] && shift
    if setting DATABASE; then
        arguments+=(--database="$value")
    fi
    MYSQL_PWD=$setup_root_password "$client" --no-defaults "${arguments[@]}" "$@"
}

process_initdb_files() {
    local file
    for file in "$initdb"/*; do
        case $file in
            *.sh)
                if [ -x "$file" ]; then
                    log Note "running $file"
                    "$file"
                else
                    log Note "reading $file"
                    # shellcheck disable=SC1090
                    . "$file"
                fi
                ;;
            *.sql)
                log Note "running $file"
                docker_process_sql < "$file"
                ;;
            *.sql.gz)
                log Note "running $file"
                gzip -dc "$file" | docker_process_sql
                ;;
            *) log Warn "$file is ignored: it is none of *.sh, *.sql and *.sql.gz" ;;
        esac
    done
}

# Sets up through a server that only we can reach, because files have to be run before others may connect.
set_up_privately() {
    local pid
    # Scripts connect where the server will always be.
    socket=/run/mysqld/mysqld.sock
    option socket "${configured[@]}" "$@" && socket=$value
    log Note "starting a server for the set-up"
    "$@" --skip-networking "${private_options[@]}" --init-file="$pipe" &
    pid=$!
    trap 'kill "$pid"; wait "$pid" || :; exit 143' TERM INT
    set_up "$pid" : :
    until MYSQL_PWD=$setup_root_password "$client" --no-defaults --protocol=socket --socket="$socket" --user=root \
        --execute "DO 0" > /dev/null 2>&1; do
        kill -0 "$pid" 2> /dev/null || fail "the server for the set-up ended; what it says above tells why"
        sleep 0.05
    done
    process_initdb_files
    kill "$pid"
    wait "$pid" || fail "the server for the set-up did not end well"
    trap - TERM INT
    log Note "the set-up is complete"
}

first_start() {
    setup_root_password= setup_user= setup_user_password=
    read_settings
    : > "$unfinished"
    make_data_directory "$@"
    pipe=$datadir/.docker-entrypoint-setup
    mkfifo -m 600 "$pipe"
    if option init-file "${configured[@]}" "$@" || ! server_can_read_initdb; then
        set_up_privately "$@"
        finish
        exec "$@"
    fi
    set_up "$$" initdb_statements finish_with_scripts &
    exec "$@" --init-file="$pipe"
}

start() {
    local left
    datadir=/var/lib/mysql
    configured_options
    option datadir "${configured[@]}" "$@" && datadir=${value%/}
    unfinished=$datadir/.docker-entrypoint-unfinished
    private_options=()
    [ "$product" = MariaDB ] || private_options+=(--loose-mysqlx=OFF)

    # Root hands over to the server's own user, unless it is the only user that there is here.
    if [ "$EUID" = 0 ]; then
        mkdir -p "$datadir"
        if setpriv --reuid=mysql --regid=mysql --init-groups true 2> /dev/null \
            && find "$datadir" ! -user mysql -exec chown mysql:mysql {} + 2> /dev/null; then
            chown mysql:mysql /run/mysqld 2> /dev/null || :
            exec setpriv --reuid=mysql --regid=mysql --init-groups -- "${BASH_SOURCE[0]}" "$@"
        fi
        set -- "$1" --user=root "${@:2}"
    fi

    if [ -e "$unfinished" ]; then
        log Warn "an earlier set-up of the data directory was interrupted: starting over"
        find "$datadir" -mindepth 1 -maxdepth 1 ! -name lost+found ! -path "$unfinished" -exec rm -rf {} +
    elif [ -d "$datadir/mysql" ]; then
        exec "$@"
    else
        left=("$datadir"/*)
        [ "${left[*]}" != "$datadir/lost+found" ] || left=()
        if [ "${#left[@]}" -gt 0 ]; then
            fail "the data directory $datadir has files but no system tables: give an empty directory or a complete one"
        fi
    fi
    [ -w "$datadir" ] || fail "the data directory $datadir is not writable for user id $EUID"
    first_start "$@"
}

main() {
    local argument
    [ $# -gt 0 ] && [ "${1:0:1}" != - ] || set -- "$server" "$@"
    case ${1##*/} in
        mysqld | mariadbd) ;;
        *) exec "$@" ;;
    esac
    for argument; do
        case $argument in
            -\? | --help | -V | --version | --print-defaults | --initialize* | --validate-config | --bootstrap)
                exec "$@"
                ;;
        esac
    done
    fitting "$@"
    start "${fitting[@]}"
}

main "$@"
