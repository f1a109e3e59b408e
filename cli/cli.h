/*
 * The weir command: one table of subcommands. The only door of this room is main().
 *
 * Exit status of every command: 0 done, 1 failed, 2 wrong usage.
 */
#ifndef WEIR_CLI_CLI_H
#define WEIR_CLI_CLI_H

#include "common/buf.h"
#include "common/cluster.h"
#include "common/error.h"

enum cli_exit { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

struct cli_command {
	const char *name;
	int (*run)(int argc, char **argv); /* argv[0] is the command's name */
	const char *arguments;             /* for the usage line */
	const char *summary;
};

/* --- args.c: options of a command as a table --- */

enum cli_arg_type { CLI_TEXT, CLI_UINT, CLI_FLAG };

struct cli_arg {
	const char *name; /* without dashes */
	enum cli_arg_type type;
	void *ret;        /* const char *, unsigned, bool */
	unsigned min, max;
	const char *value; /* name of the value in --help; NULL for flags */
	const char *text;
	bool *given; /* may be NULL: set when the option was there */
};

/*
 * Parse --name value, --name=value and flags; the rest are positional, compacted to the front of
 * argv (from 1) and counted in *ret_rest. Ends the process on --help (0).
 * Returns CLI_DONE, or CLI_USAGE after saying what was wrong.
 */
int cli_args(const struct cli_command *command, const struct cli_arg *table, size_t count, int *argc,
    char **argv);
/* Say "weir COMMAND: ..." on standard error and return CLI_FAILED or CLI_USAGE. */
int cli_fail(const char *command, const char *fmt, ...) W_PRINTF(2, 3);
int cli_usage(const char *command, const char *fmt, ...) W_PRINTF(2, 3);

/* --- where.c: files of the cluster and of the installation --- */

/* The cluster file by --dir or --config (default ./weir-data); caller frees. */
char *cli_cluster_path(const char *dir, const char *config);
int cli_cluster_load(const char *command, const char *dir, const char *config,
    struct w_cluster **ret);
/* A program of ours: beside this one, else in the installed folder; caller frees. */
char *cli_find_program(const char *name);
/* The folder of the SQL files; NULL when there is none. Caller frees. */
char *cli_find_sql(void);
bool cli_is_file(const char *path);
/* Read a whole file of at most max bytes. Errors: -W_EIO. */
int cli_read_file(const char *path, size_t max, struct w_buf *ret);
/* "[/DIR/a.so, /DIR/b.so, probe]": the modules of an application's folder. Errors: -W_EINVAL none. */
int cli_list_modules(const char *dir, struct w_buf *ret, struct w_fault *fault);
/* Write a file atomically with a mode. Errors: -W_EIO; the fault names it. */
int cli_write_file(const char *path, struct w_view text, unsigned mode, struct w_fault *fault);
int cli_make_dir(const char *path, unsigned mode, struct w_fault *fault);

/* --- certs.c: a private CA and certificates (GnuTLS) --- */

/* Make DIR/ca.pem and DIR/ca.key unless they are there and last another 30 days. */
int cli_certs_ca(const char *dir, struct w_fault *fault);
/* Make DIR/NAME.pem and DIR/NAME.key for localhost and host, signed by the CA, likewise. */
int cli_certs_make(const char *dir, const char *name, const char *host, struct w_fault *fault);

/* --- fetch.c: one HTTP GET (libcurl), bounded in time and size --- */

/* ca: file or NULL. *ret_status is 0 when nothing answered. Any thread. */
int cli_fetch(const char *url, const char *ca, w_usec timeout, struct w_buf *ret, long *ret_status);

/*
 * Ask the monitors' HTTP at a path, in the order of the cluster file: the text of the first that answers
 * with status 200, within timeout for each. Errors: -W_EDOWN nobody does. Any thread.
 */
int cli_ask_monitors(const struct w_cluster *cluster, const char *path, w_usec timeout,
    struct w_buf *ret);

/* --- control.c: talking to a running `weir up` --- */

/* One line there, all lines back. Errors: -W_EDOWN nobody listens in DIR. */
int cli_control(const char *dir, const char *line, struct w_buf *ret, struct w_fault *fault);

/* --- database.c --- */

/* The administrator's connection string, without and with the primary as target. Caller frees. */
char *cli_admin_dsn(const struct w_cluster *cluster, const struct w_member *node);
char *cli_admin_primary(const struct w_cluster *cluster);

/* --- commands --- */

int cli_up(int argc, char **argv);
int cli_down(int argc, char **argv);
int cli_reload(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_stop_node(int argc, char **argv);
int cli_start_node(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_keys(int argc, char **argv);
int cli_schema(int argc, char **argv);
int cli_switchover(int argc, char **argv);
int cli_pause(int argc, char **argv);
int cli_resume(int argc, char **argv);
int cli_watch(int argc, char **argv);
int cli_firewall(int argc, char **argv);
int cli_run_role(int argc, char **argv);

extern const struct cli_command cli_commands[];
const struct cli_command *cli_command_find(const char *name);

#endif
