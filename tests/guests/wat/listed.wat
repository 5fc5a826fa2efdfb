;; Offers tools through `portcullis:tool`. A test writes $LIST (the body of list-tools) and $DATA (what
;; the memory holds) before this is parsed.
(component
  (type $blob' (record (field "data" (list u8)) (field "mime-type" string)))
  (export $blob "blob" (type $blob'))
  (type $body' (variant (case "text" string) (case "blob" (list u8))))
  (export $body "resource-body" (type $body'))
  (type $resource' (record
    (field "uri" string) (field "mime-type" (option string)) (field "body" $body)))
  (export $resource "embedded-resource" (type $resource'))
  (type $content' (variant
    (case "text" string) (case "image" $blob) (case "audio" $blob)
    (case "resource" $resource) (case "structured" string)))
  (export $content "content" (type $content'))
  (type $kind' (enum "invalid-arguments" "failed"))
  (export $kind "error-kind" (type $kind'))
  (type $error' (record (field "kind" $kind) (field "message" string)))
  (export $error "tool-error" (type $error'))
  (type $definition' (record
    (field "name" string) (field "description" string)
    (field "input-schema" string) (field "output-schema" (option string))))
  (export $definition "tool-definition" (type $definition'))
  (core module $m
    (memory (export "memory") 4)
    $DATA
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 196608))
    (func (export "list-tools") (result i32) $LIST)
    ;; An empty list of content: the area at 0 is zero.
    (func (export "call-tool") (param i32 i32 i32 i32) (result i32) (i32.const 0))
    (func (export "typed") (result i32) (i32.const 1)))
  (core instance $i (instantiate $m))
  (func $list (result (list $definition))
    (canon lift (core func $i "list-tools") (memory (core memory $i "memory"))))
  (func $call (param "name" string) (param "arguments" string)
    (result (result (list $content) (error $error)))
    (canon lift (core func $i "call-tool") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (instance $tools
    (export "tool-definition" (type $definition))
    (export "blob" (type $blob))
    (export "resource-body" (type $body))
    (export "embedded-resource" (type $resource))
    (export "content" (type $content))
    (export "error-kind" (type $kind))
    (export "tool-error" (type $error))
    (export "list-tools" (func $list))
    (export "call-tool" (func $call)))
  (export "portcullis:tool/tools@0.1.0" (instance $tools))
  (func (export "typed") (result u32) (canon lift (core func $i "typed"))))
