;; Asks for random numbers; the second time with a realloc that never ends.
(component
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (core module $memory
    (memory (export "memory") 4)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "spin") (param i32 i32 i32 i32) (result i32) (loop $again (br $again)) unreachable))
  (core instance $memory (instantiate $memory))
  (core func $draw (canon lower (func $random "get-random-bytes")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $draw-and-spin (canon lower (func $random "get-random-bytes")
    (memory (core memory $memory "memory")) (realloc (core func $memory "spin"))))
  (core module $m
    (import "host" "draw" (func $draw (param i64 i32)))
    (import "host" "draw-and-spin" (func $draw-and-spin (param i64 i32)))
    (func (export "draw") (param i64) (call $draw (local.get 0) (i32.const 8)))
    (func (export "draw-and-spin") (call $draw-and-spin (i64.const 16) (i32.const 8))))
  (core instance $i (instantiate $m (with "host" (instance
    (export "draw" (func $draw))
    (export "draw-and-spin" (func $draw-and-spin))))))
  (func (export "draw") (param "bytes" u64) (canon lift (core func $i "draw")))
  (func (export "draw-and-spin") (canon lift (core func $i "draw-and-spin"))))
