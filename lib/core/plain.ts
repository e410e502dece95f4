/**
 * A constructor of plain objects, for what every call makes and others get to see: why not a literal, `Copy`
 * in `core/request.ts` tells; why not a class: what is given to a host or to a server in this process shall be no instance
 * of anything.
 */
export function plain<C extends new (...args: never[]) => object>(
  fill: (this: Record<string, unknown>, ...args: ConstructorParameters<C>) => void,
): C {
  fill.prototype = Object.prototype;
  return fill as unknown as C;
}
