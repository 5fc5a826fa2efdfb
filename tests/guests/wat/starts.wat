;; Reads the clock as it starts, before anything of it is called, and tells whether it did.
(component
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (export "now" (func (result u64)))))
  (core func $now (canon lower (func $clock "now")))
  (core module $m
    (import "host" "now" (func $now (result i64)))
    (global $has-read (mut i32) (i32.const 0))
    (func $start
      (drop (call $now))
      (global.set $has-read (i32.const 1)))
    (start $start)
    (func (export "has-read") (result i32) (global.get $has-read)))
  (core instance $i (instantiate $m (with "host" (instance (export "now" (func $now))))))
  (func (export "has-read") (result bool) (canon lift (core func $i "has-read"))))
