#!/bin/sh
# autogen.sh - makes configure and Makefile.in from configure.ac and the Makefile.am pieces.
set -eu
cd "$(dirname "$0")"
if ! command -v autoreconf >/dev/null || ! command -v automake >/dev/null; then
	echo "autogen.sh: autoconf and automake are needed:" \
	    "apt-get install autoconf automake pkg-config, or run ./quickstart" >&2
	exit 1
fi
if [ ! -e /usr/share/aclocal/pkg.m4 ] && ! command -v pkg-config >/dev/null; then
	echo "autogen.sh: pkg-config is needed: apt-get install pkg-config" >&2
	exit 1
fi
autoreconf --install --warnings=all
touch build-aux/autogen-stamp
