#!/bin/sh
# Stands before rustc for the crates of this workspace: programs are linked statically, the rest as always.
# Without symbols, because every change of a program is one more layer in the image cache.
case " $* " in
*" --crate-name ___ "*) exec "$@" ;; # cargo asks what this rustc can do, for every crate
*" --crate-type bin "*) exec "$@" -C target-feature=+crt-static -C strip=symbols ;;
*) exec "$@" ;;
esac
