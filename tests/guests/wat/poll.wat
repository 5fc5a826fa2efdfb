;; Waits for many pollables at once, or for one of them many times.
(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $pollable (eq $outer)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
  (core module $memory
    (memory (export "memory") 32)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1048576)))
  (core instance $memory (instantiate $memory))
  (core func $poll (canon lower (func $poll "poll")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core module $m
    (import "host" "memory" (memory 1))
    (import "host" "poll" (func $poll (param i32 i32 i32)))
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    ;; Polls; gives how many are ready.
    (func $ready (param $count i32) (result i32)
      (call $poll (i32.const 1024) (local.get $count) (i32.const 8))
      (i32.load (i32.const 12)))
    (func $fill (param $count i32) (param $handle i32) (param $each i64) (param $new i32)
      (local $at i32)
      (loop $again
        (if (local.get $new) (then (local.set $handle (call $subscribe (local.get $each)))))
        (i32.store offset=1024 (i32.shl (local.get $at) (i32.const 2)) (local.get $handle))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $at) (local.get $count)))))
    (func (export "one") (param $count i32) (result i32)
      (call $fill (local.get $count) (call $subscribe (i64.const 0)) (i64.const 0) (i32.const 0))
      (call $ready (local.get $count)))
    (func (export "many") (param $count i32) (result i32)
      (call $fill (local.get $count) (i32.const 0) (i64.const 0) (i32.const 1))
      (call $ready (local.get $count)))
    (func (export "for-ever") (param $count i32) (result i32)
      (call $fill (local.get $count) (i32.const 0) (i64.const -1) (i32.const 1))
      (call $ready (local.get $count))))
  (core instance $i (instantiate $m (with "host" (instance
    (export "memory" (memory $memory "memory"))
    (export "poll" (func $poll))
    (export "subscribe" (func $subscribe))))))
  (func (export "one") (param "count" u32) (result u32) (canon lift (core func $i "one")))
  (func (export "many") (param "count" u32) (result u32) (canon lift (core func $i "many")))
  (func (export "for-ever") (param "count" u32) (result u32) (canon lift (core func $i "for-ever"))))
