;; Writes a line of so many bytes to the log, under a context of so many bytes.
(component
  (import "wasi:logging/logging@0.1.0-draft" (instance $logging
    (type $level' (enum "trace" "debug" "info" "warn" "error" "critical"))
    (export "level" (type $level (eq $level')))
    (export "log" (func (param "level" $level) (param "context" string) (param "message" string)))))
  (core module $memory
    (memory (export "memory") 256)
    (func $fill (memory.fill (i32.const 0) (i32.const 120) (i32.const 16777216)))
    (start $fill))
  (core instance $memory (instantiate $memory))
  (core func $log (canon lower (func $logging "log") (memory (core memory $memory "memory"))))
  (core module $m
    (import "host" "log" (func $log (param i32 i32 i32 i32 i32)))
    (func (export "log") (param $context i32) (param $message i32)
      (call $log (i32.const 2) (i32.const 0) (local.get $context) (i32.const 0) (local.get $message))))
  (core instance $i (instantiate $m (with "host" (instance (export "log" (func $log))))))
  (func (export "log") (param "context" u32) (param "message" u32) (canon lift (core func $i "log"))))
