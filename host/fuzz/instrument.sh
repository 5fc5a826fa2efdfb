#!/bin/sh
# The compiler as cargo calls it (RUSTC_WRAPPER), with libFuzzer's coverage in the host and in the fuzz targets. All
# else is compiled as ever, on a stable toolchain: what is looked into is the host, and what it depends on need
# not be built anew.
rustc=$1
shift
case "${CARGO_PKG_NAME:-}" in
portcullis | portcullis-fuzz)
    set -- "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0
    ;;
esac
exec "$rustc" "$@"
