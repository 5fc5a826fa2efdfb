;; Logs a line by wasi:logging: so many bytes of message, whose context is "c".
(component
  (import "wasi:logging/logging@0.1.0-draft" (instance $logging
    (type $names (enum "trace" "debug" "info" "warn" "error" "critical"))
    (export "level" (type $level (eq $names)))
    (export "log" (func (param "level" $level) (param "context" string) (param "message" string)))))
  (core module $memory
    (memory (export "memory") 4)
    ;; A context, and a message that tries to act on a terminal and to begin a line of its own.
    (data (i32.const 0) "c")
    (data (i32.const 16) "\1b[31mred\nerror forged: line")
    (func $fill (memory.fill (i32.const 64) (i32.const 120) (i32.const 200000)))
    (start $fill))
  (core instance $memory (instantiate $memory))
  (core func $log (canon lower (func $logging "log") (memory (core memory $memory "memory")) string-encoding=utf8))
  (core module $m
    (import "host" "log" (func $log (param i32 i32 i32 i32 i32)))
    (func (export "log") (param i32)
      (call $log (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 64) (local.get 0)))
    (func (export "log-nasty")
      (call $log (i32.const 5) (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 27)))
    (func (export "log-for-ever")
      (loop $again
        (call $log (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
        (br $again))))
  (core instance $i (instantiate $m (with "host" (instance (export "log" (func $log))))))
  (func (export "log") (param "bytes" u32) (canon lift (core func $i "log")))
  (func (export "log-nasty") (canon lift (core func $i "log-nasty")))
  (func (export "log-for-ever") (canon lift (core func $i "log-for-ever"))))
