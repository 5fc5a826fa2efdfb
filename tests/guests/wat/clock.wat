;; Reads the clock, sleeps, and does with handles what it must not.
(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $pollable (eq $outer)))
    (export "now" (func (result u64)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
  ;; A resource of its own.
  (type $own (resource (rep i32)))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $now (canon lower (func $clock "now")))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $drop (canon resource.drop $pollable))
  (core func $new-own (canon resource.new $own))
  (core module $m
    (import "host" "block" (func $block (param i32)))
    (import "host" "now" (func $now (result i64)))
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "drop" (func $drop (param i32)))
    (import "host" "new-own" (func $new-own (param i32) (result i32)))
    (func (export "read") (param i32)
      (loop $again
        (if (i32.gt_s (local.get 0) (i32.const 0))
          (then
            (drop (call $now))
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (br $again)))))
    (func (export "read-for-ever") (loop $again (drop (call $now)) (br $again)))
    (func (export "sleep") (param i32)
      (local $handle i32)
      (local.set $handle (call $subscribe (i64.mul (i64.extend_i32_u (local.get 0)) (i64.const 1000000))))
      (call $block (local.get $handle))
      (call $drop (local.get $handle)))
    (func (export "sleep-for-ever") (call $block (call $subscribe (i64.const -1))))
    ;; Takes handles and lets none go.
    (func (export "leak") (param i32)
      (loop $again
        (if (i32.gt_s (local.get 0) (i32.const 0))
          (then
            (drop (call $subscribe (i64.const 0)))
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (br $again)))))
    ;; Takes a handle and lets it go, so many times.
    (func (export "take-and-drop") (param i32)
      (loop $again
        (if (i32.gt_s (local.get 0) (i32.const 0))
          (then
            (call $drop (call $subscribe (i64.const 0)))
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (br $again)))))
    (func (export "leak-own") (param i32)
      (loop $again
        (if (i32.gt_s (local.get 0) (i32.const 0))
          (then
            (drop (call $new-own (i32.const 7)))
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (br $again)))))
    (func (export "drop-twice")
      (local $handle i32)
      (local.set $handle (call $subscribe (i64.const 0)))
      (call $drop (local.get $handle))
      (call $drop (local.get $handle)))
    (func (export "forge") (param i32) (call $block (local.get 0)))
    (func (export "wrong-type") (call $block (call $new-own (i32.const 7)))))
  (core instance $i (instantiate $m (with "host" (instance
    (export "block" (func $block))
    (export "now" (func $now))
    (export "subscribe" (func $subscribe))
    (export "drop" (func $drop))
    (export "new-own" (func $new-own))))))
  (func (export "read") (param "times" u32) (canon lift (core func $i "read")))
  (func (export "read-for-ever") (canon lift (core func $i "read-for-ever")))
  (func (export "sleep") (param "milliseconds" u32) (canon lift (core func $i "sleep")))
  (func (export "sleep-for-ever") (canon lift (core func $i "sleep-for-ever")))
  (func (export "leak") (param "handles" u32) (canon lift (core func $i "leak")))
  (func (export "take-and-drop") (param "times" u32) (canon lift (core func $i "take-and-drop")))
  (func (export "leak-own") (param "handles" u32) (canon lift (core func $i "leak-own")))
  (func (export "drop-twice") (canon lift (core func $i "drop-twice")))
  (func (export "forge") (param "handle" u32) (canon lift (core func $i "forge")))
  (func (export "wrong-type") (canon lift (core func $i "wrong-type"))))
