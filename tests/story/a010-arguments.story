# shellcheck shell=bash
# What the command says before any cluster is there.

status_is() {
	local want=$1

	shift
	"$@"
	[ $? -eq "$want" ]
}

says() {
	local want=$1 got

	shift
	got=$("$@" 2>&1)
	echo "$got"
	[[ $got == *"$want"* ]]
}

check "weir without a command is wrong usage" status_is 2 weir
check "an unknown command is named" says "no command 'fly'" weir fly
check "an unknown command is wrong usage" status_is 2 weir fly
check "help is done" status_is 0 weir --help
for command in up down reload status stop-node start-node check keys schema watch firewall; do
	check "weir $command --help tells its options" says "Usage: weir $command" weir $command --help
done
for role in balancer server database monitor; do
	check "weir $role --help works" status_is 0 weir $role --help
	check "weir $role without arguments is wrong usage" status_is 2 weir $role
done
check "a number out of range is named" says "not a number from 1 to 99" weir up --servers 100
check "an unknown option is named" says "no option '--sail'" weir up --sail

cat >"$story_dir/bad.yaml" <<END
cluster:
  name: demo
servers:
  - name: server-1
    http: "127.0.0.1:99999"
END
check "a bad address: file, line and key are named" says "bad.yaml:5: " weir check "$story_dir/bad.yaml"
check "a bad cluster file fails" status_is 1 weir check "$story_dir/bad.yaml"
printf 'servers:\n  - name: server-1\n    htpp: "127.0.0.1:1"\n' >"$story_dir/typo.yaml"
check "a misspelt key is named" says "htpp" weir check "$story_dir/typo.yaml"
check "a missing file is named" says "nowhere.yaml" weir check "$story_dir/nowhere.yaml"
check "status without a cluster fails" status_is 1 weir status --dir "$story_dir/none"
check "down without a cluster fails" status_is 1 weir down --dir "$story_dir/none"
check "keys are made" status_is 0 weir keys "$story_dir/keys" balancer-1 reader
check "a secret key is its owner's alone" test "$(stat -c %a "$story_dir/keys/reader.key")" = 600
