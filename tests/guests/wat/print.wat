;; Writes to stdout: so many bytes in one host call.
(component
  (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error-type))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $stream (sub resource)))
    (alias outer 1 $error-type (type $outer))
    (export "error" (type $error (eq $outer)))
    (type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failure)))
    (export "[method]output-stream.write"
      (func (param "self" (borrow $stream)) (param "contents" (list u8))
        (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $stream))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $stream (type $outer))
    (export "output-stream" (type $stream (eq $outer)))
    (export "get-stdout" (func (result (own $stream))))))
  (core module $memory
    (memory (export "memory") 2)
    (func $fill (memory.fill (i32.const 64) (i32.const 120) (i32.const 131008)))
    (start $fill))
  (core instance $memory (instantiate $memory))
  (core func $stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.write") (memory (core memory $memory "memory"))))
  (core module $m
    (import "host" "stdout" (func $stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "write") (param i32) (call $write (call $stdout) (i32.const 64) (local.get 0) (i32.const 8)))
    ;; Fifty thousand bytes at once, so many times: one line without end.
    (func (export "flood") (param $times i32)
      (local $out i32)
      (local.set $out (call $stdout))
      (loop $again
        (call $write (local.get $out) (i32.const 64) (i32.const 50000) (i32.const 8))
        (local.set $times (i32.sub (local.get $times) (i32.const 1)))
        (br_if $again (i32.gt_s (local.get $times) (i32.const 0)))))
    (func (export "write-and-spin")
      (call $write (call $stdout) (i32.const 64) (i32.const 1) (i32.const 8))
      (loop $again (br $again))))
  (core instance $i (instantiate $m (with "host" (instance
    (export "stdout" (func $stdout))
    (export "write" (func $write))))))
  (func (export "write") (param "bytes" u32) (canon lift (core func $i "write")))
  (func (export "flood") (param "times" u32) (canon lift (core func $i "flood")))
  (func (export "write-and-spin") (canon lift (core func $i "write-and-spin"))))
