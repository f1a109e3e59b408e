#!/bin/sh
# tests/house/moves.sh - the model of the failover protocol knows the promoter's moves, and no others.
cd "${srcdir:-.}" || exit 99
spec=docs/protocol/04-failover.md
model=tests/model/failover.pml

in_spec=$(awk '/^## 6\. / { on = 1; next } /^##/ { on = 0 }
    on && /^\| / { split($0, cell, " *[|] *"); print cell[2] }' $spec | grep -vx move)
in_model=$(sed -n 's/^ \* move: \(.*[^ ]\)   *[^ ].*/\1/p' $model | sed 's/  .*//')
[ -n "$in_spec" ] || { echo "no table of moves in section 6 of $spec"; exit 1; }
[ "$in_spec" = "$in_model" ] && exit 0
echo "$spec: $in_spec"
echo "$model: $in_model"
echo "^ the moves differ"
exit 1
