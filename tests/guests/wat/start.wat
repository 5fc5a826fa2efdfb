;; Never ends: its start function loops, before anything of it can be called.
(component
  (core module $m
    (func $start (loop $again (br $again)))
    (start $start)
    (func (export "run")))
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run"))))
