;; Grows its memory and its table, recurses, and looks whether what it was given is fresh.
(component
  (core module $m
    (type $nothing (func))
    (memory 1)
    (table $table 1 funcref)
    (global $calls (mut i32) (i32.const 0))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "grow-or-trap") (param i32)
      (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then unreachable)))
    ;; A page a time until the host says no: the pages that were got.
    (func (export "grow-all") (result i32)
      (local $pages i32)
      (loop $again
        (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1))
          (then
            (local.set $pages (i32.add (local.get $pages) (i32.const 1)))
            (br $again))))
      (local.get $pages))
    (func (export "grow-table") (param i32) (result i32) (table.grow $table (ref.null func) (local.get 0)))
    ;; Whether memory, table and globals are as at the beginning; then they are not any more.
    (func $fresh (export "fresh") (result i32)
      (local $at i32) (local $found i64)
      (drop (memory.grow (i32.const 15)))
      (loop $again
        (local.set $found (i64.or (local.get $found) (i64.load (local.get $at))))
        (i64.store (local.get $at) (i64.const 0xA5A5A5A5A5A5A5A5))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $again (i32.lt_u (local.get $at) (i32.const 1048576))))
      (local.set $found (i64.or (local.get $found) (i64.extend_i32_u (global.get $calls))))
      (if (i32.eqz (ref.is_null (table.get $table (i32.const 0))))
        (then (local.set $found (i64.const 1))))
      (global.set $calls (i32.const 1))
      (table.set $table (i32.const 0) (ref.func $fresh))
      (i64.eqz (local.get $found)))
    (func (export "fresh-then-trap") (drop (call $fresh)) unreachable)
    (func $recurse (export "recurse") (param i32) (result i32)
      (if (result i32) (i32.eqz (local.get 0))
        (then (i32.const 0))
        (else (i32.add (i32.const 1) (call $recurse (i32.sub (local.get 0) (i32.const 1)))))))
    ;; So many rounds of nothing.
    (func (export "compute") (param i32)
      (loop $again
        (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
        (br_if $again (i32.gt_s (local.get 0) (i32.const 0))))))
  (core instance $i (instantiate $m))
  (func (export "grow") (param "pages" u32) (result s32) (canon lift (core func $i "grow")))
  (func (export "grow-or-trap") (param "pages" u32) (canon lift (core func $i "grow-or-trap")))
  (func (export "grow-all") (result u32) (canon lift (core func $i "grow-all")))
  (func (export "grow-table") (param "elements" u32) (result s32) (canon lift (core func $i "grow-table")))
  (func (export "fresh") (result bool) (canon lift (core func $i "fresh")))
  (func (export "fresh-then-trap") (canon lift (core func $i "fresh-then-trap")))
  (func (export "recurse") (param "depth" u32) (result u32) (canon lift (core func $i "recurse")))
  (func (export "compute") (param "rounds" u32) (canon lift (core func $i "compute"))))
