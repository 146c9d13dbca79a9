# Read by the scripts beside it. Each of these can be set from outside.
: "${BACKUP_DIR:=/var/backups/fanfare}"      # on another disk than the data, and copied to another place from there
: "${DATA_DIR:=/var/lib/fanfare}"            # server.data_dir
: "${DATABASE_URL:=}"                        # as the server has it; empty: the embedded database
: "${REDIS_URL:=}"                           # as the server has it; empty: none
: "${KEEP_DAILY:=7}" "${KEEP_WEEKLY:=5}" "${KEEP_MONTHLY:=12}"
: "${BACKUP_METRICS:=}"                      # the node exporter's textfile folder; empty: no figure is written
: "${FANFARE:=fanfare}"                      # the program

# PostgreSQL's server programs are not in PATH on Debian.
for folder in /usr/lib/postgresql/*/bin; do PATH=$PATH:$folder; done
umask 077

die() { echo "${0##*/}: $*" >&2; exit 1; }

stamp() { date -u +%Y%m%dT%H%M%S%3NZ; }

# forget FOLDER KEEP: removes the oldest backups beyond KEEP, and what an interrupted run left.
forget() {
    local folder=$1 keep=$2 old
    find "$folder" -mindepth 1 -maxdepth 1 -name '[0-9]*T[0-9]*Z.partial' -exec rm -rf {} +
    # Names are times, so their order is the age.
    find "$folder" -mindepth 1 -maxdepth 1 -name '[0-9]*T[0-9]*Z' | sort | head -n "-$keep" | while read -r old; do rm -rf -- "$old"; done
}
